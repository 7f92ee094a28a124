//! Typed headers: what a request or an answer of one code holds in its [`ExtFields`].
//!
//! Each is one table ([`headers!`]): field, type, name on the wire. A plain type is mandatory
//! (`@CFNotNull` in Java, and what the broker dereferences all the same), an `Option` is not. Unknown
//! fields are passed over. The names are those of the Java classes, without their `Header`.

mod admin;
mod consume;
mod name_server;
mod query;
mod send;

pub use admin::*;
pub use consume::*;
pub use name_server::*;
pub use query::*;
pub use send::*;

use std::borrow::Cow;

use thiserror::Error;

use super::ext_fields::ExtFields;

/// Fields that are not in any class: the name on the wire of what is set beside the typed header.
pub mod beside {
    /// On every send's answer; the Java client dereferences it. `DefaultRegion` on our side.
    pub const MSG_REGION: &str = "MSG_REGION";
    /// On every send's answer; the Java client dereferences it. `true` or `false`.
    pub const TRACE_ON: &str = "TRACE_ON";
    /// On HEART_BEAT's answer: whether heartbeats may leave unchanged subscriptions out.
    pub const IS_SUPPORT_HEART_BEAT_V2: &str = "IS_SUPPORT_HEART_BEAT_V2";
    /// On HEART_BEAT's answer: whether the broker needs the subscriptions again.
    pub const IS_SUB_CHANGE: &str = "IS_SUB_CHANGE";
    /// On QUERY_MESSAGE: `true` if the key is a unique id.
    pub const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";
    /// On any request: the namespace, where names do not carry it as a prefix.
    pub const NAMESPACE: &str = "ns";
    /// On any request: whether it is in a namespace.
    pub const NAMESPACED: &str = "nsd";
    /// On any request: the broker's name.
    pub const BROKER_NAME: &str = "bname";
}

/// A field that is not as its table says. RocketMQ's broker answers it with code 1 and the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// A mandatory field is not there.
    #[error("the custom field <{0}> is null")]
    Missing(&'static str),
    /// A field is no number, or none that fits.
    #[error("the custom field <{name}> is no {expected}")]
    Malformed {
        /// The field's name on the wire.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// What a field may be: read from a string that may be missing, written as one.
trait Field<'a>: Sized {
    fn parse(name: &'static str, value: Option<&'a str>) -> Result<Self, FieldError>;
    fn write(self, name: &'static str, fields: &mut ExtFields<'a>);
}

impl<'a> Field<'a> for &'a str {
    fn parse(name: &'static str, value: Option<&'a str>) -> Result<Self, FieldError> {
        value.ok_or(FieldError::Missing(name))
    }

    fn write(self, name: &'static str, fields: &mut ExtFields<'a>) {
        fields.push(name, self);
    }
}

/// As Java's `Boolean.parseBoolean`: whatever is not `true` is false.
impl<'a> Field<'a> for bool {
    fn parse(name: &'static str, value: Option<&'a str>) -> Result<Self, FieldError> {
        let value = value.ok_or(FieldError::Missing(name))?;
        Ok(value.eq_ignore_ascii_case("true"))
    }

    fn write(self, name: &'static str, fields: &mut ExtFields<'a>) {
        fields.push(name, if self { "true" } else { "false" });
    }
}

macro_rules! number_fields {
    ($($number:ty, $expected:literal;)*) => {$(
        impl<'a> Field<'a> for $number {
            fn parse(name: &'static str, value: Option<&'a str>) -> Result<Self, FieldError> {
                let value = value.ok_or(FieldError::Missing(name))?;
                let malformed = FieldError::Malformed { name, expected: $expected };
                value.parse().map_err(|_| malformed)
            }

            fn write(self, name: &'static str, fields: &mut ExtFields<'a>) {
                fields.push(name, Cow::Owned(self.to_string()));
            }
        }
    )*};
}

number_fields! {
    i32, "32-bit integer";
    i64, "64-bit integer";
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn parse(name: &'static str, value: Option<&'a str>) -> Result<Self, FieldError> {
        value.map(|value| T::parse(name, Some(value))).transpose()
    }

    fn write(self, name: &'static str, fields: &mut ExtFields<'a>) {
        if let Some(value) = self {
            value.write(name, fields);
        }
    }
}

/// Declares headers as tables: field, type, name on the wire.
macro_rules! headers {
    ($($(#[$doc:meta])* $header:ident $(<$life:lifetime>)? {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $name:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $header $(<$life>)? {
            $(#[doc = concat!("`", $name, "`.")] $(#[$field_doc])* pub $field: $type,)*
        }

        impl $(<$life>)? $header $(<$life>)? {
            /// Reads the fields that the table names.
            ///
            /// # Errors
            /// The first field that is missing or malformed.
            pub fn parse(fields: &$($life)? $crate::wire::rocketmq::ExtFields<'_>) -> Result<Self, $crate::wire::rocketmq::header::FieldError> {
                $(let mut $field = None;)*
                for (name, value) in fields.iter() {
                    match name {
                        $($name => $field = Some(value),)*
                        _ => {}
                    }
                }
                Ok(Self { $($field: $crate::wire::rocketmq::header::Field::parse($name, $field)?,)* })
            }

            /// Adds the fields that are there.
            pub fn write(&self, fields: &mut $crate::wire::rocketmq::ExtFields<$($life)?>) {
                $($crate::wire::rocketmq::header::Field::write(self.$field, $name, fields);)*
            }
        }
    )*};
}

use headers;

#[cfg(test)]
mod tests;
