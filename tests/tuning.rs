//! Holds tuning.md's tables to the keys and the checks there are.

use std::fs;

/// `UPDATE_TUNING=1 cargo test --test tuning` writes the tables anew.
#[test]
fn the_tables_are_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning.md");
    let page = fs::read_to_string(path).unwrap();
    let tables =
        [("keys", mainstem::config::markdown()), ("checks", mainstem::server::check::markdown())];
    let mut current = page.clone();
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
        let (before, rest) = current.split_once(&begin).expect("the mark at the beginning");
        let (_, after) = rest.split_once(&end).expect("the mark at the end");
        current = format!("{before}{begin}\n{table}\n{end}{after}");
    }
    if std::env::var_os("UPDATE_TUNING").is_some() {
        fs::write(path, current).unwrap();
        return;
    }
    assert!(
        page == current,
        "tuning.md's tables are stale: run `UPDATE_TUNING=1 cargo test --test tuning`"
    );
}
