//! A header's `extFields`: names and values, all of them strings.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::scalar::Scalar;

/// Fields of a send, which has the most.
const USUAL: usize = 16;

/// Names and values in the order they came, borrowed from the frame where nothing was escaped.
///
/// A name that comes twice has its last value. Values that are null are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtFields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> ExtFields<'a> {
    /// None at all.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// None yet, with room for as many as a send has.
    pub(super) fn for_a_send() -> Self {
        Self::with_capacity(USUAL)
    }

    pub(super) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Adds one at the end.
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.0.push((name.into(), value.into()));
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ExtFields<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = ExtFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or null")
            }

            fn visit_unit<E>(self) -> Result<ExtFields<'de>, E> {
                Ok(ExtFields::new())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExtFields<'de>, A::Error> {
                let mut fields = ExtFields::for_a_send();
                while let Some((name, value)) = map.next_entry::<Scalar<'de>, Scalar<'de>>()? {
                    if let (Some(name), Some(value)) = (name.into_text(), value.into_text()) {
                        fields.push(name, value);
                    }
                }
                Ok(fields)
            }
        }
        json.deserialize_any(Fields)
    }
}
