//! A condition's tree, and its value for a message.

use std::cmp::Ordering;

use super::Slots;
use super::value::{Mismatch, Number, Value};

/// What is true, false or null for a message.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// `TRUE`, `FALSE`, `NULL`.
    Constant(Option<bool>),
    /// A property as a condition: a string is not true.
    Property(u8),
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Equal(Box<[Operand; 2]>),
    IsNull(Box<Operand>),
    Compare(Order, Box<[Operand; 2]>),
    /// Value, lowest and highest.
    Between {
        parts: Box<[Operand; 3]>,
        negated: bool,
    },
    In {
        property: u8,
        values: Box<[Box<str>]>,
        negated: bool,
    },
    Search {
        place: Place,
        operand: Box<Operand>,
        text: Box<str>,
        negated: bool,
    },
}

/// `>`, `>=`, `<`, `<=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Where a string has to have another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

/// What is compared.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Property(u8),
    Text(Box<str>),
    Number(Number),
    Test(Test),
    Negated(Box<Operand>),
}

impl Test {
    /// Its value for a message.
    ///
    /// `AND` and `OR` go from left to right and end when they are decided: what stands behind can
    /// then be no mismatch.
    pub(super) fn evaluate(&self, slots: &Slots<'_>) -> Result<Option<bool>, Mismatch> {
        Ok(match self {
            Self::Constant(value) => *value,
            Self::Property(place) => slots[usize::from(*place)].map(|_| false),
            Self::All(tests) => return decide(tests, false, slots),
            Self::Any(tests) => return decide(tests, true, slots),
            Self::Not(test) => test.evaluate(slots)?.map(|value| !value),
            Self::Equal(sides) => {
                let [left, right] = &**sides;
                return left.evaluate(slots)?.equals(right.evaluate(slots)?);
            }
            Self::IsNull(operand) => Some(operand.evaluate(slots)? == Value::Null),
            Self::Compare(order, sides) => {
                let [left, right] = &**sides;
                return compare(left.evaluate(slots)?, *order, right, slots);
            }
            Self::Between { parts, negated } => {
                let [value, low, high] = &**parts;
                let value = value.evaluate(slots)?;
                outside(value, low, high, slots)?.map(|outside| outside == *negated)
            }
            Self::In { property, values, negated } => {
                let has = |value| values.binary_search_by(|known| (**known).cmp(value)).is_ok();
                slots[usize::from(*property)].map(|value| has(value) != *negated)
            }
            Self::Search { text, .. } if text.is_empty() => Some(false),
            Self::Search { place, operand, text, negated } => match operand.evaluate(slots)? {
                Value::Text(value) => Some(place.has(value, text) != *negated),
                _ => Some(false),
            },
        })
    }
}

/// Goes through `tests` until one has the value that decides.
fn decide(tests: &[Test], decides: bool, slots: &Slots<'_>) -> Result<Option<bool>, Mismatch> {
    let mut value = Some(!decides);
    for test in tests {
        match test.evaluate(slots)? {
            Some(found) if found == decides => return Ok(Some(decides)),
            Some(_) => {}
            None => value = None,
        }
    }
    Ok(value)
}

/// Nothing is compared with null, not even looked at.
fn compare(
    left: Value<'_>,
    order: Order,
    right: &Operand,
    slots: &Slots<'_>,
) -> Result<Option<bool>, Mismatch> {
    if left == Value::Null {
        return Ok(None);
    }
    let ordering = left.compare(right.evaluate(slots)?)?;
    Ok(ordering.map(|ordering| order.holds(ordering)))
}

/// `value < low OR value > high`.
fn outside(
    value: Value<'_>,
    low: &Operand,
    high: &Operand,
    slots: &Slots<'_>,
) -> Result<Option<bool>, Mismatch> {
    let below = compare(value, Order::Less, low, slots)?;
    if below == Some(true) {
        return Ok(below);
    }
    let above = compare(value, Order::Greater, high, slots)?;
    Ok(if above == Some(true) { above } else { below.and(above) })
}

impl Operand {
    fn evaluate<'v>(&'v self, slots: &Slots<'v>) -> Result<Value<'v>, Mismatch> {
        Ok(match self {
            Self::Property(place) => slots[usize::from(*place)].map_or(Value::Null, Value::Text),
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(*number),
            Self::Test(test) => test.evaluate(slots)?.map_or(Value::Null, Value::Bool),
            Self::Negated(operand) => match operand.evaluate(slots)? {
                Value::Number(number) => Value::Number(number.negated()),
                // A property is a string, whatever it looks like.
                _ => Value::Null,
            },
        })
    }
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }
}

impl Place {
    fn has(self, value: &str, text: &str) -> bool {
        match self {
            Self::Anywhere => value.contains(text),
            Self::Start => value.starts_with(text),
            Self::End => value.ends_with(text),
        }
    }
}
