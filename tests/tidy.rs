//! Rules the compiler does not know: the order of the rooms, what only the seam may name, how long a
//! file may be.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Each room may use only those before it, as the table in `src/lib.rs` says.
const ROOMS: [&str; 10] =
    ["base", "wire", "config", "env", "storage", "cluster", "broker", "gateway", "admin", "server"];

/// What may lie next to Cargo.toml.
const TOP_LEVEL: [&str; 13] = [
    ".ci",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "deny.toml",
    "perf",
    "rustfmt.toml",
    "src",
    "tests",
    "tuning.md",
];

const LINES_MAX: usize = 800;
const MAP_LINES_MAX: usize = 150;
const MAIN_LINES_MAX: usize = 80;

/// Marks of what somebody meant to do later, in halves so that this file has none.
const LATER: [(&str, &str); 5] =
    [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("todo", "!"), ("unimplemented", "!")];

/// Calls that may fail because of the machine rather than by the program's fault.
const IO_CALLS: [&str; 14] = [
    "fs::",
    "File::",
    "TcpListener::",
    "TcpStream::",
    ".open(",
    ".read_at(",
    ".write_at(",
    ".write_durable(",
    ".sync(",
    ".sync_dir(",
    ".set_len(",
    ".allocate(",
    ".accept(",
    ".flush(",
];

struct Source {
    /// From the repository's root.
    path: String,
    text: String,
}

impl Source {
    /// The room it belongs to; none for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<&str> {
        let (room, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(room)
    }

    /// Whether all of it is a test.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        !self.path.starts_with("src/")
            || self.path.contains("/tests/")
            || name == "tests.rs"
            || name.ends_with("_tests.rs")
    }

    /// The program: without comments and without what is compiled for tests only.
    fn code(&self) -> String {
        let mut program = String::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if line.trim() != "#[cfg(test)]" {
                program += line;
                program.push('\n');
                continue;
            }
            // The item ends on its first line, or at a brace that closes as far left as it began.
            let indent = &line[..line.len() - line.trim_start().len()];
            if lines.next().is_some_and(|first| !first.ends_with(';')) {
                lines.by_ref().find(|line| *line == format!("{indent}}}"));
            }
        }
        without_comments(&program)
    }

    /// All of its code, tests included.
    fn all_code(&self) -> String {
        without_comments(&self.text)
    }

    fn in_folder(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

/// Line comments only: the project has no others.
fn without_comments(text: &str) -> String {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.map(|line| line.split(" // ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under `folder`.
fn sources(folder: &str) -> Vec<Source> {
    let mut open = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

fn all_sources() -> Vec<Source> {
    ["src", "tests", "benches", "perf/src"].into_iter().flat_map(sources).collect()
}

/// The paths a file names: those of its `use` lines written out, and those in its code.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    let mut left = code;
    while let Some(at) = find_use(left) {
        rest += &left[..at];
        let tree = &left[at + "use ".len()..];
        let end = tree.find(';').expect("a use ends");
        expand("", &tree[..end], &mut paths);
        left = &tree[end..];
    }
    rest += left;
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = rest.split(|c| !is_path(c)).filter(|word| word.contains("::"));
    paths.extend(words.map(|word| word.trim_start_matches(':').to_owned()));
    paths
}

/// Where the next `use` begins that is a line's first word, or its second after `pub`.
fn find_use(code: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = code[from..].find("use ").map(|at| from + at) {
        let before = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if before.is_empty() || before.starts_with("pub") && !before.contains(';') {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// `a::{b, c::{d}}` as `a::b` and `a::c::d`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        if !tree.is_empty() {
            paths.push(format!("{prefix}{tree}"));
        }
        return;
    };
    let prefix = format!("{prefix}{}", tree[..open].trim());
    let inner = &tree[open + 1..tree.rfind('}').expect("a brace closes")];
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &inner[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand(&prefix, &inner[start..], paths);
}

fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn use_trees_are_written_out() {
    let code = "use crate::{\n    a::{B, c::D},\n    e,\n};\nfn f() { crate::g::h(x::Y) }";
    let expected = ["crate::a::B", "crate::a::c::D", "crate::e", "crate::g::h", "x::Y"];
    assert_eq!(paths(code), expected);
}

#[test]
fn each_room_uses_only_rooms_above_it() {
    let place = |room: &str| ROOMS.iter().position(|known| *known == room);
    let mut violations = Vec::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let own = place(room).unwrap_or_else(|| panic!("{}: no such room", source.path));
        for path in paths(&source.all_code()) {
            let used = path.strip_prefix("crate::").and_then(|path| path.split("::").next());
            if used.and_then(place).is_some_and(|used| used > own) {
                violations.push(format!("{}: a room below its own: {path}", source.path));
            }
        }
    }
    none(&violations);
}

#[test]
fn the_map_lists_the_rooms_in_their_order() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), ROOMS);
    let mut modules: Vec<_> =
        map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut rooms = ROOMS;
    modules.sort_unstable();
    rooms.sort_unstable();
    assert_eq!(modules, rooms);
}

#[test]
fn files_stay_short() {
    let limit = |path: &str| match path {
        "src/lib.rs" => MAP_LINES_MAX,
        "src/main.rs" => MAIN_LINES_MAX,
        _ => LINES_MAX,
    };
    let long = all_sources().into_iter().filter_map(|source| {
        let (lines, max) = (source.text.lines().count(), limit(&source.path));
        (lines > max).then(|| format!("{}: {lines} lines, {max} are allowed", source.path))
    });
    none(&long.collect::<Vec<_>>());
}

#[test]
fn only_the_seam_names_the_machine() {
    let mut violations = Vec::new();
    for source in sources("src") {
        if source.in_folder("src/env/") || source.is_test() {
            continue;
        }
        // What the machine can do is found out by doing it.
        let probes = source.in_folder("src/server/check");
        for path in paths(&source.code()) {
            let first = path.split("::").next().unwrap_or_default();
            let clock = ["Instant::now", "SystemTime::now"].iter().any(|now| path.ends_with(now));
            let ring = path.split("::").any(|part| part == "io_uring");
            if first == "glommio" || clock || ring && !probes {
                violations.push(format!("{}: {path}", source.path));
            }
        }
        let direct = ["O_DIRECT", "OFlags::DIRECT"].iter().any(|flag| source.code().contains(flag));
        if direct && !probes {
            violations.push(format!("{}: O_DIRECT", source.path));
        }
    }
    none(&violations);
}

/// `unwrap` has no place in the program at all; `expect` has, but not on what the machine may refuse.
#[test]
fn what_the_machine_refuses_is_no_panic() {
    let mut violations = Vec::new();
    for source in sources("src").into_iter().filter(|source| !source.is_test()) {
        let code = source.code();
        for statement in code.split(';') {
            let shown = || statement.split_whitespace().collect::<Vec<_>>().join(" ");
            let (before, expects) = match statement.split_once(".expect(") {
                Some((before, _)) => (before, true),
                None => (statement, false),
            };
            let call = before.rsplit(['{', '}', '=']).next().unwrap_or_default();
            let io = IO_CALLS.iter().any(|io| call.contains(io));
            if statement.contains(".unwrap()") || expects && io {
                violations.push(format!("{}: {}", source.path, shown()));
            }
        }
    }
    none(&violations);
}

#[test]
fn nothing_is_left_for_later() {
    let mut violations = Vec::new();
    for source in all_sources() {
        for (number, line) in source.text.lines().enumerate() {
            // A name of RocketMQ's.
            let line = line.replace("SCHEDULE_TOPIC_XX\u{58}X", "");
            let marked = LATER.iter().any(|(a, b)| line.contains(&format!("{a}{b}")));
            if marked {
                violations.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    none(&violations);
}

/// Looks at what is committed; outside of a checkout there is nothing to look at.
#[test]
fn the_top_level_is_small() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else { return };
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut unknown: Vec<_> = listed
        .split('\0')
        .filter_map(|path| path.split('/').next())
        .filter(|entry| !entry.is_empty() && !TOP_LEVEL.contains(entry))
        .map(str::to_owned)
        .collect();
    unknown.dedup();
    none(&unknown);
}
