//! The table of keys as text and as Markdown.

use std::fmt::Write as _;

use super::{KEYS, Key, SECTIONS};

/// Every key with default, bounds, meaning and when a change takes effect, for a terminal.
#[must_use]
pub fn text() -> String {
    let mut out = String::new();
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            _ = writeln!(out, "\n[{section}] {}", about(section));
        }
        let (name, change, meaning) = (key.name, key.change.word(), key.meaning());
        _ = writeln!(out, "\n{name} = {}  [{change}]\n    {meaning}", shown_default(key));
        let unit = key.unit();
        let plain = if unit.is_empty() { String::new() } else { format!(" (plain: {unit})") };
        _ = writeln!(out, "    Allowed: {}{plain}", key.bounds());
    }
    out
}

/// The same as Markdown, a table for each section.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::new();
    let mut section = None;
    for key in KEYS {
        if section != Some(key.section()) {
            section = Some(key.section());
            match key.section() {
                "" => out += "### Above all sections\n\n",
                name => _ = writeln!(out, "\n### {name}\n\n{}\n", about(name)),
            }
            out += "| Key | Default | Allowed | Unit | Change | Meaning |\n";
            out += "| --- | --- | --- | --- | --- | --- |\n";
        }
        let (name, change, unit) = (key.name, key.change.word(), key.unit());
        let (default, bounds) = (shown_default(key), escaped(&key.bounds()));
        let meaning = escaped(key.meaning());
        _ = writeln!(out, "| `{name}` | `{default}` | {bounds} | {unit} | {change} | {meaning} |");
    }
    out
}

fn shown_default(key: &Key) -> String {
    match key.default() {
        empty if empty.is_empty() => "\"\"".to_owned(),
        value => value,
    }
}

fn about(section: &str) -> &'static str {
    let found = SECTIONS.iter().find(|(name, _)| *name == section);
    found.map_or("", |(_, about)| about.trim_start())
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
