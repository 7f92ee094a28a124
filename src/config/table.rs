//! The macro behind the table of keys: one entry gives a typed field, its default and its metadata.

use super::Config;

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At once, when altered in the running broker with Kafka's tools; else at the next start.
    Live,
    /// At the next start.
    Restart,
}

impl Change {
    /// The word printed in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
        }
    }
}

/// What is known of one key besides its value.
pub struct Key {
    /// The full name, as in `log.segment_bytes`.
    pub name: &'static str,
    /// When a changed value takes effect.
    pub change: Change,
    pub(super) meaning: &'static str,
    pub(super) unit: fn() -> &'static str,
    pub(super) default: fn() -> String,
    pub(super) bounds: fn() -> String,
    pub(super) get: fn(&Config) -> String,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Key {
    /// What the key does, in a sentence or two.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        self.meaning.trim_start()
    }

    /// The default value, as it would be written in a file.
    #[must_use]
    pub fn default(&self) -> String {
        (self.default)()
    }

    /// The values allowed.
    #[must_use]
    pub fn bounds(&self) -> String {
        (self.bounds)()
    }

    /// The unit of a plain number; empty where there is none.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        (self.unit)()
    }

    /// The part before the dot; empty for a key that stands above all sections.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// The environment variable that sets this key.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("MAINSTEM_{}", self.name.replace('.', "_").to_uppercase())
    }
}

/// Declares [`Config`], a struct for each section, and `KEYS`.
///
/// `/// meaning` then `field: Type = kind, change;`, where the kind (see `kind.rs`) carries default
/// and bounds. Everything else that is said of a key is derived from this one place.
macro_rules! table {
    (
        $(#[doc = $config_doc:literal])+
        config {$(
            $(#[doc = $root_doc:literal])+
            $root:ident: $root_type:ty = $root_kind:expr, $root_change:ident;
        )*}
        $(
            $(#[doc = $section_doc:literal])+
            $section:ident: $Section:ident {$(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $kind:expr, $change:ident;
            )*}
        )*
    ) => {
        $(#[doc = $config_doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $( $(#[doc = $root_doc])+ pub $root: $root_type, )*
            $( $(#[doc = $section_doc])+ pub $section: $Section, )*
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $( $root: $crate::config::kind::Kind::default(&$root_kind), )*
                    $( $section: $Section::default(), )*
                }
            }
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $( $(#[doc = $doc])+ pub $field: $type, )*
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $field: $crate::config::kind::Kind::default(&$kind), )* }
                }
            }
        )*

        /// Every key there is, in the order of the table.
        pub static KEYS: &[$crate::config::table::Key] = &[
            $( $crate::config::table::key!(
                stringify!($root), [$root], $root_kind, $root_change, $($root_doc),+
            ), )*
            $($( $crate::config::table::key!(
                concat!(stringify!($section), ".", stringify!($field)),
                [$section.$field], $kind, $change, $($doc),+
            ), )*)*
        ];

        /// The sections and what each is about, in the order of the table.
        pub static SECTIONS: &[(&str, &str)] = &[
            $( (stringify!($section), concat!($($section_doc),+)), )*
        ];
    };
}

/// One entry of `KEYS`.
macro_rules! key {
    ($name:expr, [$($path:ident).+], $kind:expr, $change:ident, $($doc:literal),+) => {
        $crate::config::table::Key {
            name: $name,
            change: $crate::config::table::Change::$change,
            meaning: concat!($($doc),+),
            unit: || $crate::config::kind::Kind::unit(&$kind),
            default: || {
                let kind = $kind;
                $crate::config::kind::Kind::show(&kind, &$crate::config::kind::Kind::default(&kind))
            },
            bounds: || $crate::config::kind::Kind::bounds(&$kind),
            get: |config| $crate::config::kind::Kind::show(&$kind, &config.$($path).+),
            set: |config, text| {
                config.$($path).+ = $crate::config::kind::Kind::parse(&$kind, text)?;
                Ok(())
            },
        }
    };
}

pub(super) use {key, table};
