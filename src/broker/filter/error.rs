//! What is wrong with a filter's expression.

use thiserror::Error;

use super::EXPRESSION_BYTES_MAX;
use super::sql::{DEPTH_MAX, NAMES_MAX, TESTS_MAX};

/// An expression that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{fault}, at character {position}")]
pub struct FilterError {
    /// Where, in characters from 1.
    pub position: usize,
    /// What.
    pub fault: Fault,
}

impl FilterError {
    /// A fault at byte `at` of `text`.
    pub(super) fn new(text: &str, at: usize, fault: Fault) -> Self {
        let before = text.get(..at).unwrap_or(text);
        Self { position: before.chars().count() + 1, fault }
    }
}

/// The ways to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Too many bytes.
    #[error("the expression is longer than {EXPRESSION_BYTES_MAX} bytes")]
    TooLong,
    /// No tags between the `||`.
    #[error("the expression names no tag")]
    NoTag,
    /// A character that begins nothing.
    #[error("{0:?} means nothing here")]
    UnknownCharacter(char),
    /// A string without its second quote.
    #[error("the string has no end")]
    EndlessString,
    /// A comment without its `*/`.
    #[error("the comment has no end")]
    EndlessComment,
    /// An integer beyond 64 bits, or a float beyond a double.
    #[error("the number is out of range")]
    NumberRange,
    /// `007`, which is no number, and in other languages a number of another kind.
    #[error("a whole number does not begin with 0")]
    LeadingZero,
    /// Something else has to stand there.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What has to.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// `AND`, `OR` and `NOT` join conditions, and so does the whole expression.
    #[error("this is no condition: a condition or a property is needed")]
    NoCondition,
    /// `>`, `>=`, `<`, `<=` and `BETWEEN` compare numbers and properties.
    #[error("only numbers and properties have an order")]
    NoOrder,
    /// `=` and `<>` with `NULL`.
    #[error("nothing equals NULL: use IS NULL or IS NOT NULL")]
    EqualsNull,
    /// `TRUE` or `FALSE` compared with a literal of another type.
    #[error("a boolean is never equal to a number or a string")]
    NeverEqual,
    /// `BETWEEN` with bounds in the wrong order.
    #[error("the lower bound of BETWEEN is above its upper bound")]
    EmptyRange,
    /// `IN` behind something else.
    #[error("IN needs a property on its left")]
    NoProperty,
    /// Parentheses or operators too deep in each other.
    #[error("the expression is nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// Too many comparisons.
    #[error("the expression has more than {TESTS_MAX} operators")]
    TooManyTests,
    /// Too many properties.
    #[error("the expression names more than {NAMES_MAX} properties")]
    TooManyNames,
}
