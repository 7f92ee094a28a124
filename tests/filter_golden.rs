//! SQL92 filters against what RocketMQ's own filter makes of them: `Filters` in
//! `tests/interop/rocketmq` prints the file, and the interop suite compares it with what it prints today.

use std::collections::BTreeSet;

use mainstem::broker::filter::{Fault, FilterError, Mismatch, SqlFilter};

const GOLDEN: &str = include_str!("filter_golden/rocketmq-5.5.0.txt");

/// What RocketMQ takes, because it passes over all that cannot continue a condition.
const STRICTER: [&str; 14] = [
    "a = 05",
    "a = 0x10",
    "a = 1e",
    "a = 5 + 1",
    "a = 5 -",
    "a = 5 6",
    "a = 5 b",
    "a = 5)",
    "a = 5, b = 5",
    "a = 5.0L",
    "a = 5.0f",
    "a LIKE 'x'",
    "a-b = 1",
    "b = 'a'b'",
];

/// What RocketMQ refuses, because 0.0 is below the smallest positive double.
const LOOSER: [&str; 2] = ["a = 0.0", "a = 1e-400"];

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next().expect("an escape has a second character") {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'f' => '\u{c}',
                other => other,
            },
            _ => c,
        });
    }
    out
}

/// The properties of the file's messages.
fn messages() -> Vec<Vec<(String, String)>> {
    let lines = GOLDEN.lines().filter_map(|line| line.strip_prefix("message"));
    let pair = |field: &str| {
        let (name, value) = field.split_once('=').expect("a name and a value");
        (unescaped(name), unescaped(value))
    };
    lines.map(|line| line.split('\t').skip(1).map(pair).collect()).collect()
}

/// What the file says of each condition: a letter for each message, or `refused`.
fn conditions() -> impl Iterator<Item = (&'static str, String)> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with("message"));
    lines.map(|line| {
        let (values, condition) = line.split_once('\t').expect("values and a condition");
        (values, unescaped(condition))
    })
}

fn values(condition: &SqlFilter, messages: &[Vec<(String, String)>]) -> String {
    let letter = |properties: &Vec<(String, String)>| {
        let properties = properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        match condition.evaluate(properties) {
            Ok(Some(true)) => 'T',
            Ok(Some(false)) => 'F',
            Ok(None) => 'N',
            Err(Mismatch) => 'E',
        }
    };
    messages.iter().map(letter).collect()
}

#[test]
fn conditions_mean_what_they_mean_to_rocketmq() {
    let messages = messages();
    assert_eq!(messages.len(), 16);
    let mut compared = 0;
    let mut wrong = Vec::new();
    let (mut stricter, mut looser) = (BTreeSet::new(), BTreeSet::new());
    for (expected, condition) in conditions() {
        match SqlFilter::parse(&condition) {
            Ok(_) if expected == "refused" => drop(looser.insert(condition)),
            Err(_) if expected == "refused" => compared += 1,
            Ok(compiled) => {
                compared += 1;
                let values = values(&compiled, &messages);
                if values != expected {
                    wrong.push(format!("{expected} {values} {condition:?}"));
                }
            }
            Err(FilterError { fault: Fault::Unexpected { .. } | Fault::LeadingZero, .. }) => {
                stricter.insert(condition);
            }
            Err(error) => wrong.push(format!("{condition:?}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(looser, LOOSER.map(str::to_owned).into());
    assert_eq!(stricter, STRICTER.map(str::to_owned).into());
    assert!(compared > 1000, "only {compared} conditions");
}
