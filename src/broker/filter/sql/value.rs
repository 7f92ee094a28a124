//! Values, and how Java's classes compare them.

use std::cmp::Ordering;

use thiserror::Error;

/// Values had to be compared whose types do not go together: most often a property that is no number
/// with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the values cannot be compared")]
pub struct Mismatch;

/// A number in a condition. Which it is decides how a string is read to compare with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i32),
    Long(i64),
    Double(f64),
}

impl Number {
    /// An integer, as narrow as it fits. None beyond 64 bits.
    pub(super) fn integer(image: &str) -> Option<Self> {
        let long: i64 = image.parse().ok()?;
        Some(i32::try_from(long).map_or(Self::Long(long), Self::Int))
    }

    /// A number with a point or an exponent. None beyond a double's range.
    pub(super) fn float(image: &str) -> Option<Self> {
        let double: f64 = image.parse().ok()?;
        double.is_finite().then_some(Self::Double(double))
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Int(int) => Self::Int(int.wrapping_neg()),
            Self::Long(long) => Self::Long(long.wrapping_neg()),
            Self::Double(double) => Self::Double(-double),
        }
    }

    fn double(self) -> f64 {
        match self {
            Self::Int(int) => f64::from(int),
            Self::Long(long) => long as f64,
            Self::Double(double) => double,
        }
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Double(_), _) | (_, Self::Double(_)) => {
                compare_doubles(self.double(), other.double())
            }
            (left, right) => left.long().cmp(&right.long()),
        }
    }

    fn long(self) -> i64 {
        match self {
            Self::Int(int) => int.into(),
            Self::Long(long) => long,
            Self::Double(double) => double as i64,
        }
    }

    /// Reads `text` as the same class of number.
    fn same_class(self, text: &str) -> Result<Self, Mismatch> {
        match self {
            Self::Int(_) => text.parse().map(Self::Int).or(Err(Mismatch)),
            Self::Long(_) => text.parse().map(Self::Long).or(Err(Mismatch)),
            Self::Double(_) => read_double(text).map(Self::Double),
        }
    }
}

/// `Double.compareTo`: -0 is below 0, and NaN, of which there is one, above all.
fn compare_doubles(left: f64, right: f64) -> Ordering {
    left.total_cmp(&right)
}

/// `Double.valueOf`, but for hexadecimal.
fn read_double(text: &str) -> Result<f64, Mismatch> {
    let text = text.trim_matches(|c| c <= ' ');
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let double = match unsigned {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => f64::INFINITY,
        _ => {
            let digits = unsigned.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(unsigned);
            // What else Rust reads, Java does not: `inf`, `nan`, a second sign.
            if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                return Err(Mismatch);
            }
            digits.parse().or(Err(Mismatch))?
        }
    };
    Ok(if negative { -double } else { double })
}

/// What an operand is worth for one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'v> {
    Null,
    Bool(bool),
    Text(&'v str),
    Number(Number),
}

impl Value<'_> {
    /// `=`: null if only the left value is, false if only the right one is.
    ///
    /// # Errors
    /// When a string is no number, but compared with one; or a boolean with a string on its right,
    /// which only the other way round is read as `TRUE` or something else.
    pub(super) fn equals(self, other: Self) -> Result<Option<bool>, Mismatch> {
        let equal = match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Null, _) => return Ok(None),
            (Self::Text(left), Self::Text(right)) => left == right,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Text(left), Self::Bool(right)) => left.eq_ignore_ascii_case("true") == right,
            (Self::Bool(_), Self::Text(_)) => return Err(Mismatch),
            (Self::Number(left), Self::Number(right)) => left.compare(right).is_eq(),
            (Self::Text(text), Self::Number(number)) | (Self::Number(number), Self::Text(text)) => {
                number.same_class(text)?.compare(number).is_eq()
            }
            (Self::Bool(_), Self::Number(_))
            | (Self::Number(_), Self::Bool(_))
            | (_, Self::Null) => false,
        };
        Ok(Some(equal))
    }

    /// `>` and its kin: none if one is null.
    ///
    /// # Errors
    /// When one is no number. Two strings are compared as doubles.
    pub(super) fn compare(self, other: Self) -> Result<Option<Ordering>, Mismatch> {
        let ordering = match (self, other) {
            (Self::Null, _) | (_, Self::Null) => return Ok(None),
            (Self::Number(left), Self::Number(right)) => left.compare(right),
            (Self::Text(text), Self::Number(number)) => number.same_class(text)?.compare(number),
            (Self::Number(number), Self::Text(text)) => number.compare(number.same_class(text)?),
            (Self::Text(left), Self::Text(right)) => {
                compare_doubles(read_double(left)?, read_double(right)?)
            }
            (Self::Bool(_), _) | (_, Self::Bool(_)) => return Err(Mismatch),
        };
        Ok(Some(ordering))
    }
}
