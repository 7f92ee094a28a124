//! Java's enums: a name in JSON, a number in binary.

/// Declares a Java enum once: variant and its name, in the order of the ordinals. JSON may have the
/// name or the ordinal, as fastjson takes both; names are written.
macro_rules! java_enum {
    ($(#[$doc:meta])* $enum:ident { $($name:ident $java:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $enum {
            $(#[doc = concat!("`", $java, "`.")] $name,)*
            /// What none of the others is.
            #[default]
            Unknown = u8::MAX,
        }

        impl $enum {
            /// All that have a name, in the order of their ordinals.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// By its Java name.
            #[must_use]
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($java => Self::$name,)*
                    _ => Self::Unknown,
                }
            }

            /// By its Java ordinal.
            #[must_use]
            pub fn from_ordinal(ordinal: usize) -> Self {
                Self::ALL.get(ordinal).copied().unwrap_or(Self::Unknown)
            }

            /// By its Java name or ordinal, as JSON has it.
            pub(in $crate::wire::rocketmq) fn from_scalar(
                scalar: $crate::wire::rocketmq::scalar::Scalar<'_>,
            ) -> Self {
                match scalar.number() {
                    Some(ordinal) => Self::from_ordinal(ordinal),
                    None => scalar.into_text().map_or(Self::Unknown, |name| Self::from_name(&name)),
                }
            }

            /// Its Java name, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($java),)*
                    Self::Unknown => None,
                }
            }
        }

        impl serde::Serialize for $enum {
            fn serialize<S: serde::Serializer>(&self, json: S) -> Result<S::Ok, S::Error> {
                self.name().serialize(json)
            }
        }

        impl<'de> serde::Deserialize<'de> for $enum {
            fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
                use $crate::wire::rocketmq::scalar::Scalar;
                Scalar::deserialize(json).map(Self::from_scalar)
            }
        }
    };
}

pub(super) use java_enum;
