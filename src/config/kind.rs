//! Kinds of values: how each is read from text, shown, and bounded.

use std::{fmt, marker::PhantomData, net::SocketAddr, path::PathBuf};

use super::value::{Advertised, Cores, Listen, Pin, WriterCore};

/// 1024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1024 KiB.
pub const MIB: u64 = 1 << 20;
/// 1024 MiB.
pub const GIB: u64 = 1 << 30;
/// 1024 GiB.
pub const TIB: u64 = 1 << 40;

/// One kind of value. `show` and `parse` are inverse to each other.
pub trait Kind {
    /// The type the program works with.
    type Value;
    /// The value without any setting.
    fn default(&self) -> Self::Value;
    /// Reads a value; the error is the end of a sentence that names the key.
    fn parse(&self, text: &str) -> Result<Self::Value, String>;
    /// Writes a value as `parse` reads it.
    fn show(&self, value: &Self::Value) -> String;
    /// The values allowed.
    fn bounds(&self) -> String;
    /// The unit of a plain number.
    fn unit(&self) -> &'static str {
        ""
    }
}

/// What a number counts, and the suffixes it may be written with.
#[derive(Clone, Copy)]
pub struct Unit {
    name: &'static str,
    /// Suffixes and their size in the unit of a plain number, as a fraction.
    suffixes: &'static [(&'static str, i128, i128)],
    /// The suffixes values are shown with, largest first; each has a whole size.
    shown: &'static [(&'static str, i128)],
}

const COUNT: Unit = Unit { name: "", suffixes: &[], shown: &[] };

const BYTES: Unit = Unit {
    name: "bytes",
    suffixes: &[
        ("b", 1, 1),
        ("kib", KIB as i128, 1),
        ("mib", MIB as i128, 1),
        ("gib", GIB as i128, 1),
        ("tib", TIB as i128, 1),
        ("kb", 1_000, 1),
        ("mb", 1_000_000, 1),
        ("gb", 1_000_000_000, 1),
        ("tb", 1_000_000_000_000, 1),
    ],
    shown: &[
        ("TiB", TIB as i128),
        ("GiB", GIB as i128),
        ("MiB", MIB as i128),
        ("KiB", KIB as i128),
    ],
};

const MILLIS: Unit = Unit {
    name: "ms",
    suffixes: &[
        ("us", 1, 1_000),
        ("ms", 1, 1),
        ("s", 1_000, 1),
        ("min", 60_000, 1),
        ("h", 3_600_000, 1),
        ("d", 86_400_000, 1),
    ],
    shown: &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)],
};

const MICROS: Unit = Unit {
    name: "us",
    suffixes: &[("us", 1, 1), ("ms", 1_000, 1), ("s", 1_000_000, 1)],
    shown: &[("s", 1_000_000), ("ms", 1_000), ("us", 1)],
};

/// A whole number within bounds; for `T` any integer of at most 64 bits.
pub struct Quantity<T> {
    unit: Unit,
    default: i128,
    min: i128,
    max: i128,
    step: i128,
    special: Option<(i128, &'static str)>,
    value: PhantomData<T>,
}

fn quantity<T: TryFrom<i128> + Into<i128>>(unit: Unit, default: T, min: T, max: T) -> Quantity<T> {
    Quantity {
        unit,
        default: default.into(),
        min: min.into(),
        max: max.into(),
        step: 1,
        special: None,
        value: PhantomData,
    }
}

/// A number of things.
pub fn count<T: TryFrom<i128> + Into<i128>>(default: T, min: T, max: T) -> Quantity<T> {
    quantity(COUNT, default, min, max)
}

/// A number of bytes, written plain or as `64MiB`, `1GB`.
pub fn bytes<T: TryFrom<i128> + Into<i128>>(default: T, min: T, max: T) -> Quantity<T> {
    quantity(BYTES, default, min, max)
}

/// A duration in milliseconds, written plain or as `500ms`, `7d`.
pub fn millis<T: TryFrom<i128> + Into<i128>>(default: T, min: T, max: T) -> Quantity<T> {
    quantity(MILLIS, default, min, max)
}

/// A duration in microseconds, written plain or as `500us`, `1ms`.
pub fn micros<T: TryFrom<i128> + Into<i128>>(default: T, min: T, max: T) -> Quantity<T> {
    quantity(MICROS, default, min, max)
}

impl<T> Quantity<T> {
    /// Only multiples of `step` are allowed.
    pub fn step(mut self, step: u64) -> Self {
        self.step = step.into();
        self
    }

    /// Also allows `value`, out of bounds as it may be; `meaning` is a word for what it does.
    pub fn or(mut self, value: i64, meaning: &'static str) -> Self {
        self.special = Some((value.into(), meaning));
        self
    }

    fn show_number(&self, number: i128) -> String {
        let exact = self.unit.shown.iter().find(|(_, size)| number % size == 0);
        match exact {
            Some((suffix, size)) if number > 0 => format!("{}{suffix}", number / size),
            _ => number.to_string(),
        }
    }

    fn read_number(&self, text: &str) -> Result<i128, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !matches!(c, '0'..='9' | '_' | '-' | '+'));
        let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
        let unreadable = || format!("{text:?} is not a {}", self.unit.description());
        let number: i128 = number.replace('_', "").parse().map_err(|_| unreadable())?;
        let suffix = suffix.trim_start();
        if suffix.is_empty() {
            return Ok(number);
        }
        let known =
            self.unit.suffixes.iter().find(|(known, ..)| suffix.eq_ignore_ascii_case(known));
        let (_, above, below) = known.ok_or_else(unreadable)?;
        let whole = number.checked_mul(*above).ok_or_else(unreadable)?;
        if whole % below == 0 {
            Ok(whole / below)
        } else {
            Err(format!("{text} is not a whole number of {}", self.unit.name))
        }
    }
}

impl Unit {
    fn description(self) -> &'static str {
        match self.name {
            "bytes" => "number of bytes (as 1048576, 64MiB or 1GB)",
            "ms" => "duration (as 500, 500ms, 30s, 5min, 12h or 7d; plain numbers are ms)",
            "us" => "duration (as 500, 500us or 1ms; plain numbers are us)",
            _ => "whole number",
        }
    }
}

impl<T: TryFrom<i128> + Into<i128> + Copy> Kind for Quantity<T> {
    type Value = T;

    fn default(&self) -> T {
        T::try_from(self.default).ok().expect("the default fits its type")
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        let number = self.read_number(text)?;
        let special = self.special.is_some_and(|(value, _)| value == number);
        let within = (self.min..=self.max).contains(&number) && number % self.step == 0;
        if !within && !special {
            return Err(format!("{} is out of bounds: {}", text.trim(), self.bounds()));
        }
        T::try_from(number).map_err(|_| format!("{text} is too large"))
    }

    fn show(&self, value: &T) -> String {
        self.show_number((*value).into())
    }

    fn bounds(&self) -> String {
        let min = self.show_number(self.min);
        let mut bounds = match self.max {
            max if max == i64::MAX.into() => format!("{min} or more"),
            max => format!("{min}..{}", self.show_number(max)),
        };
        if self.step > 1 {
            bounds += &format!(", multiple of {}", self.show_number(self.step));
        }
        if let Some((value, meaning)) = self.special {
            bounds += &format!(", or {value} ({meaning})");
        }
        bounds
    }

    fn unit(&self) -> &'static str {
        self.unit.name
    }
}

/// `true` or `false`.
pub struct Switch(pub bool);

impl Kind for Switch {
    type Value = bool;

    fn default(&self) -> bool {
        self.0
    }

    fn parse(&self, text: &str) -> Result<bool, String> {
        text.trim().parse().map_err(|_| format!("{text:?} is neither true nor false"))
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn bounds(&self) -> String {
        "true, false".to_owned()
    }
}

/// One of a few words; the first is the default.
pub struct OneOf<T: 'static>(pub &'static [(T, &'static str)]);

impl<T: Copy + PartialEq> Kind for OneOf<T> {
    type Value = T;

    fn default(&self) -> T {
        self.0[0].0
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        let known = self.0.iter().find(|(_, word)| *word == text.trim());
        known
            .map(|(value, _)| *value)
            .ok_or_else(|| format!("{text:?} is none of {}", self.bounds()))
    }

    fn show(&self, value: &T) -> String {
        let known = self.0.iter().find(|(known, _)| known == value);
        known.expect("every value has a word").1.to_owned()
    }

    fn bounds(&self) -> String {
        self.0.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
    }
}

/// Text of at most so many bytes that passes a check of its own.
pub struct Text {
    /// The value without any setting.
    pub default: &'static str,
    /// The most bytes it may have.
    pub max_bytes: usize,
    /// What the text must be, in a few words.
    pub form: &'static str,
    /// Says what is wrong with the text.
    pub check: fn(&str) -> Result<(), String>,
}

/// Free text.
pub fn text(default: &'static str, max_bytes: usize) -> Text {
    Text { default, max_bytes, form: "text", check: |_| Ok(()) }
}

impl Kind for Text {
    type Value = String;

    fn default(&self) -> String {
        self.default.to_owned()
    }

    fn parse(&self, text: &str) -> Result<String, String> {
        if text.len() > self.max_bytes {
            return Err(format!("has {} bytes: {}", text.len(), self.bounds()));
        }
        (self.check)(text)?;
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn bounds(&self) -> String {
        format!("{}, at most {} bytes", self.form, self.max_bytes)
    }
}

/// A path, taken from where the broker is started.
pub struct FilePath(pub &'static str);

impl Kind for FilePath {
    type Value = PathBuf;

    fn default(&self) -> PathBuf {
        self.0.into()
    }

    fn parse(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.into()) }
    }

    fn show(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }

    fn bounds(&self) -> String {
        "path".to_owned()
    }
}

/// A value that reads and shows itself.
pub struct Parsed<T> {
    default: &'static str,
    bounds: &'static str,
    value: PhantomData<T>,
}

fn parsed<T>(default: &'static str, bounds: &'static str) -> Parsed<T> {
    Parsed { default, bounds, value: PhantomData }
}

impl<T: std::str::FromStr<Err = String> + fmt::Display> Kind for Parsed<T> {
    type Value = T;

    fn default(&self) -> T {
        self.default.parse().expect("the default is one of the values")
    }

    fn parse(&self, text: &str) -> Result<T, String> {
        text.trim().parse()
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }

    fn bounds(&self) -> String {
        self.bounds.to_owned()
    }
}

/// A listener's socket address, or `off`.
pub fn listen(default: &'static str) -> Parsed<Listen> {
    debug_assert!(default.parse::<SocketAddr>().is_ok());
    parsed(default, "ADDRESS:PORT (port 0: any free one), off")
}

/// The address clients are told to connect to.
pub fn advertised() -> Parsed<Advertised> {
    parsed("", "HOST, HOST:PORT, or empty (as listening)")
}

/// CPU cores.
pub fn cores() -> Parsed<Cores> {
    parsed("auto", "auto, or a list as 0-3,6")
}

/// Whether shards stay on their cores.
pub fn pin() -> Parsed<Pin> {
    parsed("auto", "auto (when shards.cores is a list), true, false")
}

/// Where the log's writer runs.
pub fn writer_core() -> Parsed<WriterCore> {
    parsed("auto", "auto, off, or a core's number")
}
