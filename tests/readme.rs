//! Holds the README's lists to what the program has.

use mainstem::{cluster::topic_config::TOPIC_CONFIGS, wire::kafka::ApiKey};

const README: &str = include_str!("../README.md");

#[test]
fn the_apis_and_their_versions_are_listed() {
    for api in ApiKey::ALL.iter().copied() {
        let (first, last) = api.advertised();
        let first = (first..=last).find(|version| api.serves(*version)).unwrap();
        let versions = if first == last { first.to_string() } else { format!("{first}–{last}") };
        let row = format!("| {api:?} | {} | {versions} |", api.code());
        assert!(README.contains(&row), "{row}");
    }
}

#[test]
fn the_topic_configs_are_listed_by_whether_they_act() {
    let (_, section) = README.split_once("### A topic's configs").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let (acting, idle) = section.split_once("without effect:").unwrap();
    for config in TOPIC_CONFIGS {
        let name = format!("`{}`", config.name);
        assert_eq!(idle.contains(&name), !config.effective, "{name}");
        assert_eq!(acting.contains(&name), config.effective, "{name}");
    }
}
