//! Faults and where they are, limits, and a model. What conditions mean is held against RocketMQ itself
//! by `tests/filter_golden.rs`.

use std::fmt::Write;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{EXPRESSION_BYTES_MAX, Fault};
use super::*;

fn fault(expression: &str) -> (usize, Fault) {
    let error = SqlFilter::parse(expression).expect_err(expression);
    (error.position, error.fault)
}

#[test]
fn faults_are_where_they_are() {
    for (expression, position, expected) in [
        ("a = #", 5, Fault::UnknownCharacter('#')),
        ("'ä' = ä", 7, Fault::UnknownCharacter('ä')),
        ("a = .", 5, Fault::UnknownCharacter('.')),
        ("a = 'x''", 5, Fault::EndlessString),
        ("a = /* x", 5, Fault::EndlessComment),
        ("a = 007", 5, Fault::LeadingZero),
        ("a = 9223372036854775808", 5, Fault::NumberRange),
        ("a = 1e309", 5, Fault::NumberRange),
        ("a = 1 AND 5", 11, Fault::NoCondition),
        ("'x' OR a", 1, Fault::NoCondition),
        ("NOT -a", 5, Fault::NoCondition),
        ("-a", 1, Fault::NoCondition),
        ("a > 'x'", 5, Fault::NoOrder),
        ("(a = 1) > 2", 1, Fault::NoOrder),
        ("a BETWEEN 1 AND NULL", 17, Fault::NoOrder),
        ("a = (NULL)", 5, Fault::EqualsNull),
        ("TRUE = 1", 1, Fault::NeverEqual),
        ("a BETWEEN 2 AND 1", 11, Fault::EmptyRange),
        ("5 IN ('5')", 1, Fault::NoProperty),
    ] {
        assert_eq!(fault(expression), (position, expected), "{expression}");
    }
}

#[test]
fn errors_say_what_is_missing() {
    for (expression, text) in [
        ("", "expected a property, a value or \"(\", found the end, at character 1"),
        ("a LIKE 'x%'", "expected an operator or the end, found \"LIKE\", at character 3"),
        ("(a = 1", "expected an operator or \")\", found the end, at character 7"),
        ("a IN ('1' '2')", "expected \",\" or \")\", found \"'2')\", at character 11"),
        ("a IN (5)", "expected a string, found \"5)\", at character 7"),
        ("a IS 5", "expected NULL, found \"5\", at character 6"),
        (
            "a NOT 5",
            "expected BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH, found \"5\", at character 7",
        ),
        ("a BETWEEN 1 5", "expected AND, found \"5\", at character 13"),
        ("a IN ()", "expected a string, found \")\", at character 7"),
        (
            "a IS NULL CONTAINS 'x'",
            "expected an operator or the end, found \"CONTAINS\", at character 11",
        ),
        ("a = 9e999", "the number is out of range, at character 5"),
    ] {
        assert_eq!(SqlFilter::parse(expression).unwrap_err().to_string(), text);
    }
}

#[test]
fn the_last_of_equal_names_counts() {
    let condition = SqlFilter::parse("a = 'x'").unwrap();
    assert!(condition.matches([("a", "y"), ("b", "z"), ("a", "x")]));
    assert!(!condition.matches([("a", "x"), ("a", "y")]));
}

#[test]
fn what_is_deep_is_refused() {
    // Four kinds of depth: parentheses, prefixes, and operators that chain to the left.
    let deep = |open: &str, close: &str, n| format!("{}a{}", open.repeat(n), close.repeat(n));
    for (open, close) in [
        ("(", ")"),
        ("NOT ", ""),
        ("- ", " IS NULL"),
        ("+", ""),
        ("", " IS NULL"),
        ("", " CONTAINS 'x'"),
        ("", " = b"),
        ("x OR y AND z = (", ")"),
        ("NOT (x = TRUE OR y AND z = (", ") IS NULL)"),
    ] {
        let shallow = SqlFilter::parse(&deep(open, close, 20)).unwrap();
        let _ = shallow.evaluate([("a", "1")]);
        for n in [101, 1000, 4000] {
            assert_eq!(fault(&deep(open, close, n)).1, Fault::TooDeep, "{open}a{close}");
        }
    }
    assert!(SqlFilter::parse(&deep("(", ")", DEPTH_MAX - 1)).is_ok());
    let deepest = deep("", " IS NULL", DEPTH_MAX);
    assert_eq!(SqlFilter::parse(&deepest).unwrap().evaluate([]), Ok(Some(false)));
    // Four operators a turn: OR, AND, NOT and =.
    let mixed = |n| SqlFilter::parse(&deep("x OR y AND z <> (", ")", n));
    assert_eq!(mixed(DEPTH_MAX / 4).unwrap().evaluate([]), Ok(None));
    assert!(mixed(DEPTH_MAX / 4 + 1).is_err());
}

#[test]
fn limits_are_held() {
    let many = |n: usize, separator: &str, item: &dyn Fn(usize) -> String| {
        (0..n).map(item).collect::<Vec<_>>().join(separator)
    };
    let chain = |n| many(n, " OR ", &|_| "a = 1".to_owned());
    // Half of the operators are the chain's own.
    assert!(SqlFilter::parse(&chain(TESTS_MAX / 2)).is_ok());
    assert_eq!(fault(&chain(TESTS_MAX / 2 + 1)).1, Fault::TooManyTests);
    let names = |n| many(n, " AND ", &|i| format!("n{i} = '{i}'"));
    let full = SqlFilter::parse(&names(NAMES_MAX)).unwrap();
    let pairs: Vec<_> = (0..NAMES_MAX).map(|i| (format!("n{i}"), i.to_string())).collect();
    assert!(full.matches(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
    assert_eq!(fault(&names(NAMES_MAX + 1)).1, Fault::TooManyNames);
    assert_eq!(fault(&" ".repeat(EXPRESSION_BYTES_MAX + 1)), (1, Fault::TooLong));
}

/// What is as long as may be takes a time that grows with its length: quadratic, each of these would
/// take minutes.
#[test]
fn long_expressions_are_read_in_linear_time() {
    let full = |piece: &str| piece.repeat(EXPRESSION_BYTES_MAX / piece.len() - 100);
    let start = Instant::now();
    for expression in [
        full("("),
        full("-"),
        full("/**/"),
        full("--\n"),
        format!("a = '{}'", full("''")),
        format!("a = {}", full("1")),
        format!("a = .{}", full("1")),
        full("'"),
        full("a"),
        format!("a IN ({}'')", full("'x',")),
        full("NOT "),
        full("a OR "),
        full("/*"),
        full("ä"),
    ] {
        let _ = SqlFilter::parse(&expression);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// A condition whose value is plain to see.
#[derive(Clone, Debug)]
enum Model {
    Constant(Option<bool>),
    /// Compares a property that is a number, or null, with another.
    Compare(usize, &'static str, i32),
    IsNull(usize, bool),
    In(usize, Vec<i32>, bool),
    Between(usize, i32, u8, bool),
    Not(Box<Model>),
    And(Box<Model>, Box<Model>),
    Or(Box<Model>, Box<Model>),
}

const PROPERTIES: [&str; 3] = ["a", "$b_2", "Or1"];

impl Model {
    /// With no parentheses that precedence makes needless: `level` is that of the operator around it.
    fn print(&self, level: u8, out: &mut String) {
        let own = match self {
            Self::Or(..) => 0,
            Self::And(..) => 1,
            Self::IsNull(..) => 2,
            Self::Compare(_, "=" | "<>", _) => 2,
            Self::Compare(..) | Self::In(..) | Self::Between(..) => 3,
            Self::Not(_) | Self::Constant(_) => 4,
        };
        if own < level {
            out.push('(');
        }
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self {
            Self::Constant(value) => out.push_str(match value {
                Some(true) => "TRUE",
                Some(false) => "false",
                None => "Null",
            }),
            Self::Compare(property, operator, number) => {
                write!(out, "{}{operator}{number}", PROPERTIES[*property]).unwrap();
            }
            Self::IsNull(property, negated) => {
                write!(out, "{} is {}null", PROPERTIES[*property], not(negated)).unwrap();
            }
            Self::In(property, values, negated) => {
                let values: Vec<_> = values.iter().map(|value| format!("'{value}'")).collect();
                let values = values.join(",");
                write!(out, "{} {}IN({values})", PROPERTIES[*property], not(negated)).unwrap();
            }
            Self::Between(property, low, width, negated) => {
                let high = low + i32::from(*width);
                let property = PROPERTIES[*property];
                write!(out, "{property} {}BETWEEN {low} AND {high}", not(negated)).unwrap();
            }
            Self::Not(model) => {
                out.push_str("NOT ");
                model.print(4, out);
            }
            Self::And(left, right) => {
                left.print(1, out);
                out.push_str(" AND\t");
                right.print(2, out);
            }
            Self::Or(left, right) => {
                left.print(0, out);
                out.push_str("/**/OR ");
                right.print(1, out);
            }
        }
        if own < level {
            out.push(')');
        }
    }

    fn evaluate(&self, values: &[Option<i32>; 3]) -> Option<bool> {
        match self {
            Self::Constant(value) => *value,
            Self::Compare(property, operator, number) => {
                // An equation whose left side is null is null.
                let value = values[*property]?;
                Some(match *operator {
                    "=" => value == *number,
                    "<>" => value != *number,
                    ">" => value > *number,
                    ">=" => value >= *number,
                    "<" => value < *number,
                    _ => value <= *number,
                })
            }
            Self::IsNull(property, negated) => Some(values[*property].is_none() != *negated),
            Self::In(property, list, negated) => {
                values[*property].map(|value| list.contains(&value) != *negated)
            }
            Self::Between(property, low, width, negated) => {
                let range = *low..=low + i32::from(*width);
                values[*property].map(|value| range.contains(&value) != *negated)
            }
            Self::Not(model) => model.evaluate(values).map(|value| !value),
            Self::And(left, right) => match (left.evaluate(values), right.evaluate(values)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.evaluate(values), right.evaluate(values)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

fn models() -> impl Strategy<Value = Model> {
    let operators = prop::sample::select(&["=", "<>", ">", ">=", "<", "<="][..]);
    let leaf = prop_oneof![
        any::<Option<bool>>().prop_map(Model::Constant),
        (0..3_usize, operators, -3..4).prop_map(|(p, o, n)| Model::Compare(p, o, n)),
        (0..3_usize, any::<bool>()).prop_map(|(p, n)| Model::IsNull(p, n)),
        (0..3_usize, prop::collection::vec(-3..4, 1..7), any::<bool>())
            .prop_map(|(p, list, n)| Model::In(p, list, n)),
        (0..3_usize, -3..4, 0..4_u8, any::<bool>())
            .prop_map(|(p, low, width, n)| Model::Between(p, low, width, n)),
    ];
    leaf.prop_recursive(6, 64, 2, |inner| {
        let pair = (inner.clone().prop_map(Box::new), inner.clone().prop_map(Box::new));
        prop_oneof![
            inner.prop_map(|model| Model::Not(Box::new(model))),
            pair.clone().prop_map(|(left, right)| Model::And(left, right)),
            pair.prop_map(|(left, right)| Model::Or(left, right)),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_it_was_meant(
        model in models(),
        messages in prop::collection::vec(prop::array::uniform3(prop::option::of(-3..4)), 8),
    ) {
        let mut text = String::new();
        model.print(0, &mut text);
        let condition = SqlFilter::parse(&text).unwrap();
        for message in messages {
            let values = message.map(|value| value.map(|value: i32| value.to_string()));
            let properties = PROPERTIES.into_iter().zip(&values);
            let properties = properties.filter_map(|(name, value)| Some((name, value.as_deref()?)));
            prop_assert_eq!(condition.evaluate(properties), Ok(model.evaluate(&message)), "{}", text);
        }
    }

    #[test]
    fn any_text_is_survived(text in any::<String>(), value in any::<String>()) {
        if let Ok(condition) = SqlFilter::parse(&text) {
            let _ = condition.matches([("a", value.as_str())]);
        }
    }

    /// Words and signs in any order, and values that are nearly numbers.
    #[test]
    fn any_tokens_are_survived(
        words in prop::collection::vec(prop::sample::select(&[
            "a", "b", "AND", "OR", "NOT", "IS", "NULL", "IN", "(", ")", ",", "'x'", "''", "'", "5", ".5", "1e", "-",
            "+", "--", "\n", "/*", "*/", "=", "<>", ">", "BETWEEN", "CONTAINS", "TRUE", "ä", "9223372036854775807",
        ][..]), 0..14),
        value in "[-+0-9.eEdfNaInfity ]{0,8}",
    ) {
        if let Ok(condition) = SqlFilter::parse(&words.join(" ")) {
            let _ = condition.matches([("a", value.as_str()), ("b", "5")]);
        }
    }
}
