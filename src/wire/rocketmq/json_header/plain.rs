//! A header as clients write it, read in one pass over its bytes.
//!
//! serde reads any JSON there may be, in twice the time. What is unusual here, or wrong, is
//! none: serde then reads it, or tells what is wrong with it.

use std::borrow::Cow;

use memchr::memchr2;

use super::Read;
use crate::wire::rocketmq::{
    command::Language,
    ext_fields::ExtFields,
    scalar::{Scalar, number_or_default},
};

/// Room for what a message's properties have behind the first name, in bytes.
const USUAL_BYTES: usize = 128;

/// The most digits of a number that is surely within 64 bits.
const DIGITS_MAX: usize = 18;

pub(super) fn read(header: &[u8]) -> Option<Read<'_>> {
    let text = str::from_utf8(header).ok()?;
    // All at once, so that it is done many bytes at a time: JSON has none in strings, and clients
    // none between them.
    if header.iter().fold(false, |found, byte| found | (*byte < b' ')) {
        return None;
    }
    let mut json = Plain { text, at: 0 };
    let mut fields = None;
    let [mut code, mut flag, mut language, mut opaque, mut remark, mut version] =
        [const { None }; 6];
    json.object(|json, name| {
        let place = match name {
            "code" => &mut code,
            "flag" => &mut flag,
            "language" => &mut language,
            "opaque" => &mut opaque,
            "remark" => &mut remark,
            "version" => &mut version,
            "extFields" => return fields.replace(json.ext_fields()?).is_none().then_some(()),
            _ => return json.scalar().map(drop),
        };
        place.replace(json.scalar()?).is_none().then_some(())
    })?;
    let number = |member: Option<Scalar<'_>>| number_or_default(&member.unwrap_or_default());
    (json.at == text.len()).then_some(Read {
        code: number(code)?,
        ext_fields: fields.unwrap_or_default(),
        flag: number(flag)?,
        language: Language::from_scalar(language.unwrap_or_default()),
        opaque: number(opaque)?,
        remark: remark.unwrap_or_default(),
        version: number(version)?,
    })
}

/// JSON without control characters, of which the bytes in front of `at` were read.
struct Plain<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Plain<'a> {
    /// The next byte that is no space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if byte != b' ' {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Passes over `byte` if it is the next one.
    #[inline]
    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// An object; `member` reads the value of each name.
    #[inline]
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.skip(b'{')?;
        if self.skip(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.name()?;
            self.skip(b':')?;
            member(self, name)?;
            if self.skip(b',').is_none() {
                return self.skip(b'}');
            }
        }
    }

    /// A string without escapes, and most often of few letters.
    #[inline]
    fn name(&mut self) -> Option<&'a str> {
        self.skip(b'"')?;
        let rest = &self.text[self.at..];
        let end = rest.bytes().position(|byte| byte == b'"' || byte == b'\\')?;
        self.at += end;
        self.skip(b'"').map(|()| &rest[..end])
    }

    fn ext_fields(&mut self) -> Option<ExtFields<'a>> {
        let mut fields = ExtFields::for_a_send();
        self.object(|json, name| {
            if json.next()? == b'"' {
                fields.push(name, json.string()?);
            } else if let Some(value) = json.scalar()?.into_text() {
                fields.push(name, value);
            }
            Some(())
        })?;
        Some(fields)
    }

    #[inline(always)]
    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.skip(b'"')?;
        let text = self.until_quote_or_escape()?;
        if self.text.as_bytes()[self.at] == b'"' {
            self.at += 1;
            return Some(Cow::Borrowed(text));
        }
        self.escaped_string(text).map(Cow::Owned)
    }

    /// A string with an escape behind its beginning.
    #[inline(never)]
    fn escaped_string(&mut self, beginning: &str) -> Option<String> {
        let mut text = String::with_capacity(beginning.len() + USUAL_BYTES);
        text.push_str(beginning);
        while self.text.as_bytes()[self.at] == b'\\' {
            text.push(self.escaped()?);
            text.push_str(self.until_quote_or_escape()?);
        }
        self.at += 1;
        Some(text)
    }

    /// What stands in front of the next quote or backslash, which comes next then.
    #[inline]
    fn until_quote_or_escape(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let end = memchr2(b'"', b'\\', rest.as_bytes())?;
        self.at += end;
        Some(&rest[..end])
    }

    /// The character that an escape stands for.
    fn escaped(&mut self) -> Option<char> {
        let (character, bytes) = match self.text.as_bytes()[self.at + 1..] {
            // What stands between properties, and between their names and values.
            [b'u', b'0', b'0', b'0', digit @ (b'1' | b'2'), ..] => (char::from(digit - b'0'), 6),
            [b'u', a, b, c, d, ..] => {
                let hex = |code: u32, digit| Some(code << 4 | char::from(digit).to_digit(16)?);
                // Half of a pair is no character.
                (char::from_u32([a, b, c, d].into_iter().try_fold(0, hex)?)?, 6)
            }
            [character @ (b'"' | b'\\' | b'/'), ..] => (char::from(character), 2),
            [b'n', ..] => ('\n', 2),
            [b'r', ..] => ('\r', 2),
            [b't', ..] => ('\t', 2),
            _ => return None,
        };
        self.at += bytes;
        Some(character)
    }

    /// A string, an integer that is not too long, a boolean or null.
    fn scalar(&mut self) -> Option<Scalar<'a>> {
        match self.next()? {
            b'"' => self.string().map(Scalar::Text),
            b'n' => self.word("null").map(|()| Scalar::Null),
            b't' => self.word("true").map(|()| Scalar::Bool(true)),
            b'f' => self.word("false").map(|()| Scalar::Bool(false)),
            _ => self.integer().map(Scalar::Integer),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn integer(&mut self) -> Option<i64> {
        let rest = &self.text[self.at..];
        let unsigned = rest.strip_prefix('-').unwrap_or(rest);
        let sign = rest.len() - unsigned.len();
        let digits = unsigned.bytes().position(|byte| !byte.is_ascii_digit())?;
        // `-0`, fractions and exponents are numbers too, but not these.
        let plain = matches!(unsigned.as_bytes()[digits], b',' | b'}' | b' ');
        let leading_zero = unsigned.starts_with('0') && sign + digits > 1;
        if digits > DIGITS_MAX || !plain || leading_zero {
            return None;
        }
        self.at += sign + digits;
        rest[..sign + digits].parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// What Java's client sends (tests/wire_golden), and what is like it.
    const USUAL: &[&str] = &[
        r#"{"code":310,"extFields":{"a":"group","i":"KEYS\u0001k\u0002WAIT\u0001true\u0002ü","e":"3"},"flag":0,"language":"JAVA","opaque":42,"serializeTypeCurrentRPC":"JSON","version":479}"#,
        r#"{ "code" : "11", "extFields":{ }, "remark":"\"\\\/\n", "opaque":-7, "suspended":true}"#,
        r#"{"language":3,"flag":null,"version":0,"extFields":{"Signature":null,"n":12,"f":false}}"#,
        "{}",
    ];

    const PARTS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        " ",
        "\n",
        "\"",
        "\\",
        "\\u0001",
        "\\ud83d",
        "\\b",
        "\\n",
        "ü",
        "\"code\"",
        "\"extFields\"",
        "\"remark\"",
        "\"x\":",
        "null",
        "true",
        "0",
        "-",
        "01",
        "-0",
        "1.5",
        "1e3",
        "123456789012345678",
        "9223372036854775808",
        "3000000000",
    ];

    /// What is read so is read so by serde too.
    fn agrees(header: &[u8]) -> Result<bool, TestCaseError> {
        let plain = read(header);
        let is_plain = plain.is_some();
        if let Some(plain) = plain {
            let shown = String::from_utf8_lossy(header).into_owned();
            prop_assert_eq!(super::super::read(header).ok(), Some(plain), "{}", shown);
        }
        Ok(is_plain)
    }

    #[test]
    fn what_clients_send_is_plain() {
        for header in USUAL {
            assert!(agrees(header.as_bytes()).unwrap(), "{header}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_serde() {
        for header in [
            "",
            "{}x",
            "{",
            "[]",
            "{\"remark\":\"\n\"}",
            r#"{"a":[]}"#,
            r#"{"a":1.5}"#,
            r#"{"a":01}"#,
            r#"{"a":-0}"#,
            r#"{"a":1234567890123456789}"#,
            r#"{"a":"\ud83d\ude00"}"#,
            r#"{"code":1,"code":2}"#,
            r#"{"extFields":{},"extFields":{}}"#,
            r#"{"code":1,}"#,
            r#"{"code":"x"}"#,
            r#"{"code":true}"#,
        ] {
            assert_eq!(read(header.as_bytes()), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde(
            header in select(USUAL),
            at in any::<prop::sample::Index>(),
            gone in 0..4_usize,
            parts in vec(select(PARTS), 0..4),
        ) {
            let at = at.index(header.len());
            let mut changed = header.as_bytes()[..at].to_vec();
            parts.iter().for_each(|part| changed.extend_from_slice(part.as_bytes()));
            changed.extend_from_slice(&header.as_bytes()[(at + gone).min(header.len())..]);
            agrees(&changed)?;
        }

        #[test]
        fn it_agrees_with_serde_about_anything(parts in vec(select(PARTS), 0..12)) {
            agrees(format!("{{\"code\":{}", parts.concat()).as_bytes())?;
        }
    }
}
