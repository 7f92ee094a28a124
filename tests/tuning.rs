//! Holds tuning.md's table to the keys there are.

use std::fs;

const BEGIN: &str = "<!-- keys: begin -->\n";
const END: &str = "<!-- keys: end -->";

/// `UPDATE_TUNING=1 cargo test --test tuning` writes the table anew.
#[test]
fn the_table_of_keys_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning.md");
    let page = fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("tuning.md has the mark at the beginning");
    let (table, after) = rest.split_once(END).expect("tuning.md has the mark at the end");
    let current = format!("\n{}\n", mainstem::config::markdown());
    if std::env::var_os("UPDATE_TUNING").is_some() {
        fs::write(path, format!("{before}{BEGIN}{current}{END}{after}")).unwrap();
        return;
    }
    assert!(
        table == current,
        "tuning.md's table is stale: run `UPDATE_TUNING=1 cargo test --test tuning`"
    );
}
