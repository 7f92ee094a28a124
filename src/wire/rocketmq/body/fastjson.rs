//! What fastjson writes and no standard has: map keys that are numbers or objects, without quotes.
//!
//! `{"brokerAddrs":{0:"ip:port"}}` and `{"offsetTable":{{"queueId":0,…}:{…}}}`. Numbers are written
//! quoted here, because every client reads that. Objects are written as they are, because Java reads
//! nothing else. Both are read. In between, an object that is a key is the string of its text.

use std::{borrow::Cow, fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
    ser::Error as _,
};

use crate::wire::WireError;

/// How deep fastjson's keys are looked for; as deep as serde_json goes.
const DEPTH_MAX: usize = 128;

/// Reads a body.
///
/// # Errors
/// [`WireError::Json`] tells what is wrong and where.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(&quote_keys(body)).map_err(|error| WireError::Json(error.to_string()))
}

/// Writes a body.
///
/// # Errors
/// [`WireError::Encode`]; none of the structs in this module fails.
pub fn to_json<T: Serialize>(body: &T) -> Result<Bytes, WireError> {
    let json = serde_json::to_vec(body).and_then(unquote_objects);
    json.map(Bytes::from).map_err(|error| WireError::Encode(error.to_string()))
}

/// A map whose keys are objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<K, V>(pub Vec<(K, V)>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Serialize, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.iter().map(|(key, value)| (serde_json::to_string(key), value));
        let entries: Result<Vec<_>, _> =
            entries.map(|(key, value)| key.map(|key| (key, value))).collect();
        json.collect_map(entries.map_err(S::Error::custom)?)
    }
}

impl<'de, K: DeserializeOwned, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(PhantomData<(K, V)>);
        impl<'de, K: DeserializeOwned, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
            type Value = Table<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<K, V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let key = serde_json::from_str(&key).map_err(A::Error::custom)?;
                    entries.push((key, map.next_value()?));
                }
                Ok(Table(entries))
            }
        }
        json.deserialize_map(Entries(PhantomData))
    }
}

/// Puts quotes around map keys that lack them. What is broken otherwise stays so, for the parser to
/// complain about.
fn quote_keys(json: &[u8]) -> Cow<'_, [u8]> {
    let mut quoted = Vec::new();
    let mut copied = 0;
    // Whether each open bracket is an object's, and whether a key is next.
    let (mut open, mut at_key) = (Vec::new(), false);
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let bare = at_key && !byte.is_ascii_whitespace() && byte != b'"' && byte != b'}';
        if bare {
            let end = if byte == b'{' { object_end(json, at) } else { bare_end(json, at) };
            quoted.extend_from_slice(&json[copied..at]);
            quote(&json[at..end], &mut quoted);
            (at, copied, at_key) = (end, end, false);
            continue;
        }
        match byte {
            b'"' => {
                at = string_end(json, at);
                at_key = false;
                continue;
            }
            b'{' | b'[' if open.len() == DEPTH_MAX => break,
            b'{' | b'[' => {
                at_key = byte == b'{';
                open.push(at_key);
            }
            b'}' | b']' => {
                open.pop();
                at_key = false;
            }
            b',' => at_key = open.last() == Some(&true),
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    quoted.extend_from_slice(&json[copied..]);
    Cow::Owned(quoted)
}

/// Takes the quotes from map keys that are objects' texts, as [`Table`] writes them.
fn unquote_objects(json: Vec<u8>) -> Result<Vec<u8>, serde_json::Error> {
    let mut bare = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(&byte) = json.get(at) {
        if byte != b'"' {
            at += 1;
            continue;
        }
        let end = string_end(&json, at);
        if json[at..].starts_with(br#""{"#) && json.get(end) == Some(&b':') {
            bare.extend_from_slice(&json[copied..at]);
            bare.extend_from_slice(serde_json::from_slice::<String>(&json[at..end])?.as_bytes());
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Ok(json);
    }
    bare.extend_from_slice(&json[copied..]);
    Ok(bare)
}

/// Behind the string that begins at `at`.
fn string_end(json: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(&byte) = json.get(end) {
        end += 1;
        match byte {
            b'"' => return end,
            b'\\' => end += 1,
            _ => {}
        }
    }
    json.len()
}

/// Behind the object that begins at `at`.
fn object_end(json: &[u8], at: usize) -> usize {
    let (mut end, mut depth) = (at, 0_usize);
    while let Some(&byte) = json.get(end) {
        if byte == b'"' {
            end = string_end(json, end);
            continue;
        }
        end += 1;
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return end;
                }
            }
            _ => {}
        }
    }
    json.len()
}

/// Behind the number or the word that begins at `at`.
fn bare_end(json: &[u8], at: usize) -> usize {
    let is_end = |byte: &u8| b":,{}[]\"".contains(byte) || byte.is_ascii_whitespace();
    let length = json[at..].iter().position(is_end).unwrap_or(json.len() - at);
    at + length.max(1)
}

fn quote(key: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in key {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            // Only between an object's tokens; within strings they are no JSON anyway.
            0..0x20 => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standard(json: &str) -> String {
        String::from_utf8(quote_keys(json.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn keys_get_quotes() {
        let cases = [
            (r#"{0:"a",-1 :"b", x:[1,{2:3}]}"#, r#"{"0":"a","-1" :"b", "x":[1,{"2":3}]}"#),
            (r#"{"a":{{"q":"\"}"}:{1:2}}}"#, r#"{"a":{"{\"q\":\"\\\"}\"}":{"1":2}}}"#),
            (r#"{"a,{0:1}":[{},{"b":"{0:"}]}"#, r#"{"a,{0:1}":[{},{"b":"{0:"}]}"#),
            ("{{\n}:1}", r#"{"{ }":1}"#),
            ("{:1}", r#"{":"1}"#),
            (r#"{"a\"#, r#"{"a\"#),
            ("{{", r#"{"{""#),
        ];
        for (json, expected) in cases {
            assert_eq!(standard(json), expected);
        }
    }

    #[test]
    fn what_has_its_quotes_is_not_copied() {
        let json = br#"{"a":{"0":[1,2]},"b":null}"#;
        assert!(matches!(quote_keys(json), Cow::Borrowed(_)));
        let deep = "[".repeat(DEPTH_MAX + 1) + "{0:1}";
        assert_eq!(standard(&deep), deep);
    }

    #[test]
    fn objects_are_keys_both_ways() {
        let table = Table(vec![((1, "a\"{}:".to_owned()), 2), ((3, String::new()), 4)]);
        let json = to_json(&table).unwrap();
        assert_eq!(from_json::<Table<(i32, String), i32>>(&json).unwrap(), table);

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Key {
            n: i32,
        }
        let table =
            Table(vec![(Key { n: 1 }, "{".to_owned()), (Key { n: 2 }, "\"{\":".to_owned())]);
        let json = to_json(&table).unwrap();
        assert_eq!(&json[..], br#"{{"n":1}:"{",{"n":2}:"\"{\":"}"#);
        assert_eq!(from_json::<Table<Key, String>>(&json).unwrap(), table);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(json in r#"[{}\[\]",:0a\\ ]{0,40}"#) {
            let quoted = standard(&json);
            prop_assert!(quoted.len() <= 4 * json.len() + 2);
            let _ = unquote_objects(json.into_bytes());
        }

        #[test]
        fn standard_json_stays(text in "\\PC{0,10}", numbers in any::<[i32; 3]>()) {
            let json = serde_json::json!({ "a": { &text: numbers }, "b": [&text, { "c": null }] });
            let json = json.to_string();
            prop_assert_eq!(standard(&json), json);
        }
    }
}
