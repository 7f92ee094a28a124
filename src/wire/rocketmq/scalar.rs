//! A JSON value that is not an array or an object, read as what it should have been.
//!
//! RocketMQ's clients disagree about types: the C++ client sends numbers where Java sends strings,
//! and strings where Java sends numbers. fastjson takes both, and so does this.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// A scalar that borrows its text from the JSON where nothing in it is escaped.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    #[default]
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    /// As a string; null is none.
    pub(super) fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(if value { "true" } else { "false" }.into()),
            Self::Integer(value) => Some(value.to_string().into()),
            Self::Float(value) => Some(value.to_string().into()),
            Self::Text(text) => Some(text),
        }
    }

    /// As a number; null and what is none are none.
    pub(super) fn number<T: TryFrom<i64> + FromStr>(&self) -> Option<T> {
        match self {
            Self::Integer(value) => T::try_from(*value).ok(),
            Self::Text(text) => text.parse().ok(),
            Self::Null | Self::Bool(_) | Self::Float(_) => None,
        }
    }
}

/// A number, perhaps as a string; null is 0.
pub(super) fn number_or_default<T>(scalar: &Scalar<'_>) -> Option<T>
where
    T: TryFrom<i64> + FromStr + Default,
{
    match scalar {
        Scalar::Null => Some(T::default()),
        scalar => scalar.number(),
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number, a boolean or null")
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        // What is beyond 64 bits with a sign is text: nothing here is a number as large.
        Ok(i64::try_from(value)
            .map_or_else(|_| Scalar::Text(value.to_string().into()), Scalar::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(ScalarVisitor)
    }
}

/// For `#[serde(deserialize_with)]`: see [`number_or_default`].
pub(super) fn number<'de, D, T>(json: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64> + FromStr + Default,
{
    let number = number_or_default(&Scalar::deserialize(json)?);
    number.ok_or_else(|| D::Error::custom("a number is malformed"))
}

/// For `#[serde(deserialize_with)]`: a value whose null means its default, as Java's setters leave
/// a field alone.
pub(super) fn or_default<'de, D, T>(json: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(json).map(Option::unwrap_or_default)
}

/// For `#[serde(deserialize_with)]`: an array of numbers, perhaps as strings; null is empty.
pub(super) fn numbers<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<i32>, D::Error> {
    struct Numbers;
    impl<'de> Visitor<'de> for Numbers {
        type Value = Vec<i32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of numbers")
        }

        fn visit_unit<E>(self) -> Result<Vec<i32>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<i32>, A::Error> {
            let mut numbers = Vec::new();
            while let Some(scalar) = array.next_element::<Scalar<'de>>()? {
                let number = scalar.number();
                numbers.push(number.ok_or_else(|| A::Error::custom("a number is malformed"))?);
            }
            Ok(numbers)
        }
    }
    json.deserialize_any(Numbers)
}
