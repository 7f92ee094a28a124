//! RocketMQ's part of SQL92 (`SelectorParser.jj` of its filter module), as its broker understands it.
//!
//! From loose to tight: `OR`; `AND`; `=`, `<>`, `IS [NOT] NULL`; `>`, `>=`, `<`, `<=`, `[NOT] BETWEEN`,
//! `[NOT] IN`, `[NOT] CONTAINS`, `[NOT] STARTSWITH`, `[NOT] ENDSWITH`; `NOT`, `-`, `+`; and all of one
//! level from left to right. So `NOT a = 'b'` means `(NOT a) = 'b'`. There is no arithmetic and no `LIKE`.
//! Words are keywords in any case; names of properties are not: ASCII letters, digits, `_` and `$`.
//!
//! # Values
//! Every property is a string; one a message does not have is null. A number decides how a string is
//! compared with it: as Java's `Integer.valueOf` reads it, `Long.valueOf` for one beyond 32 bits,
//! `Double.valueOf` for one with a point or an exponent. A string with an order compared to a string
//! is read as a double, too.
//! A string that is no such number is a [`Mismatch`]: the message does not match, whatever the rest of the
//! condition says, unless an `AND` or `OR` to the left had already decided. Logic has three values;
//! null does not match. `a = b` is true if the message has neither, and `a = 'x'` null if it has no `a`,
//! but `'x' = a` false. A property alone is a condition that never holds: false if the message has it.
//! `CONTAINS` and its kin are false for null, and for an empty string to look for, `NOT` or not.
//!
//! # Where it differs
//! RocketMQ stops at the first token that cannot continue a condition and takes what it has: of
//! `a > 1 + 2` it takes `a > 1`, of `name LIKE 'x%'` a `name` that never holds. Here that is an error.
//! Beyond what RocketMQ takes, `0L`, `0.0` and floats too small for a double are numbers, and a `--` comment
//! may end with the expression. A double in hexadecimal and digits other than ASCII's, which Java
//! reads from a property, are a mismatch here.
//!
//! Limits: [`super::EXPRESSION_BYTES_MAX`], [`TESTS_MAX`], [`NAMES_MAX`], [`DEPTH_MAX`].

mod expression;
mod lexer;
mod parser;
mod value;

use std::cmp::Ordering;

use super::FilterError;
use expression::Test;
pub use value::Mismatch;

/// The most operators in one condition: each takes some 20 ns of a message, more for a long value.
pub const TESTS_MAX: usize = 4096;
/// The most properties one condition may name: their values are gathered on the stack.
pub const NAMES_MAX: usize = 64;
/// How deep parentheses and operators may be nested, because reading, evaluating and dropping recurse.
/// A chain of `AND` or of `OR` is one level, however long.
pub const DEPTH_MAX: usize = 100;

/// The values of the properties that a condition names.
type Slots<'m> = [Option<&'m str>; NAMES_MAX];

/// A condition, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct SqlFilter {
    names: Names,
    test: Test,
}

/// The properties that a condition names, in order, each with its place in the slots.
#[derive(Clone, Debug, Default)]
struct Names(Vec<(Box<str>, u8)>);

/// By length first: most names that differ are told apart without a look at their bytes.
fn order(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

impl Names {
    /// The place of `name`, a new one if need be. None if there are too many.
    fn place(&mut self, name: &str) -> Option<u8> {
        match self.0.binary_search_by(|(known, _)| order(known, name)) {
            Ok(at) => Some(self.0[at].1),
            Err(_) if self.0.len() == NAMES_MAX => None,
            Err(at) => {
                let place = self.0.len() as u8;
                self.0.insert(at, (name.into(), place));
                Some(place)
            }
        }
    }

    /// The values that a message has; of a property that it has twice, the last.
    fn gather<'m>(&self, properties: impl IntoIterator<Item = (&'m str, &'m str)>) -> Slots<'m> {
        let mut slots = [None; NAMES_MAX];
        for (name, value) in properties {
            if let Ok(at) = self.0.binary_search_by(|(known, _)| order(known, name)) {
                slots[usize::from(self.0[at].1)] = Some(value);
            }
        }
        slots
    }
}

impl SqlFilter {
    /// Reads a condition, in time that grows with its length and no faster.
    ///
    /// # Errors
    /// Says what is wrong with it, and where.
    pub fn parse(expression: &str) -> Result<Self, FilterError> {
        parser::parse(expression)
    }

    /// Whether a message with these properties fulfils the condition.
    #[must_use]
    pub fn matches<'m>(&self, properties: impl IntoIterator<Item = (&'m str, &'m str)>) -> bool {
        self.evaluate(properties) == Ok(Some(true))
    }

    /// The condition's value for a message with these properties; none is null.
    ///
    /// # Errors
    /// When values of types that do not go together had to be compared.
    pub fn evaluate<'m>(
        &self,
        properties: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) -> Result<Option<bool>, Mismatch> {
        self.test.evaluate(&self.names.gather(properties))
    }
}

#[cfg(test)]
mod tests;
