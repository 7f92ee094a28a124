//! The report: `report.md`, one self-contained `report.html`, and the charts of both, all made from
//! the results alone, so that they can be made again.

mod chart;
mod drawings;
mod html;
mod markdown;
mod metric;
mod summary;

use crate::error::{Doing, Result};
use crate::histogram::{hgrm, merge};
use crate::raw::COLD_END_TO_END_LATENCY;
use crate::report::{END_TO_END_LATENCY, PUBLISH_DELAY_LATENCY, PUBLISH_LATENCY};
use crate::rocketmq::TIMER_LATENESS;
use crate::run_directory::RunDirectory;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use summary::Summary;

/// The histograms that are merged and kept.
const HISTOGRAMS: [&str; 5] = [
    PUBLISH_LATENCY,
    PUBLISH_DELAY_LATENCY,
    END_TO_END_LATENCY,
    COLD_END_TO_END_LATENCY,
    TIMER_LATENESS,
];

/// Whose report to make again.
#[derive(Args, Debug, Clone)]
pub struct ReportArgs {
    /// The comparison's directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Makes the report of a comparison again, from its results.
///
/// # Errors
/// There are no results, or the report cannot be written.
pub fn report(args: &ReportArgs) -> Result<bool> {
    let directory = RunDirectory::open(args.directory.clone())?;
    println!("{}", write(&directory)?);
    Ok(true)
}

/// Writes the report, and returns it as Markdown.
///
/// # Errors
/// A result cannot be read or the report not written.
pub fn write(directory: &RunDirectory) -> Result<String> {
    let summary = Summary { plan: directory.plan(), results: directory.results()? };
    let drawings = drawings::drawings(&summary);
    for drawing in &drawings {
        put(&directory.path().join(drawing.file_name()), &drawing.svg)?;
    }
    write_merged(directory, &summary)?;
    let markdown = markdown::markdown(&summary, &drawings);
    put(&directory.path().join("report.md"), &markdown)?;
    put(&directory.path().join("report.html"), &html::html(&summary, &drawings))?;
    Ok(markdown)
}

/// Writes the histograms of all runs of one contestant together, as HdrHistogram's text.
fn write_merged(directory: &RunDirectory, summary: &Summary<'_>) -> Result<()> {
    let folder = directory.path().join("merged");
    fs::create_dir_all(&folder).doing(|| format!("creating {}", folder.display()))?;
    for workload in &summary.plan.workloads {
        for contestant in &summary.plan.contestants {
            let runs = summary.good_runs(workload, contestant.variant);
            for name in HISTOGRAMS {
                let parts = runs.iter().filter_map(|r| r.histograms.get(name));
                if let Some(whole) = merge(parts) {
                    let file = format!("{}.{}.{name}.hgrm", workload.name, contestant.variant);
                    put(&folder.join(file), &hgrm(&whole))?;
                }
            }
        }
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).doing(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A comparison's directory that was kept: two systems, four workloads, two runs each.
    fn kept() -> Summary<'static> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/comparison");
        let directory = RunDirectory::open(path).expect("it is part of the repository");
        let results = directory.results().expect("they are part of the repository");
        let plan = Box::leak(Box::new(directory.plan().clone()));
        Summary { plan, results }
    }

    #[test]
    fn the_page_is_complete_and_needs_nothing_from_elsewhere() {
        let summary = kept();
        let drawings = drawings::drawings(&summary);
        let html = html::html(&summary, &drawings);
        for part in ["<script", "src=", "href=\"http", "@import", "url("] {
            assert!(!html.contains(part), "{part} is there");
        }
        for part in ["prefers-color-scheme:dark", "Latency by percentile", "Losses and failures"] {
            assert!(html.contains(part), "{part} is missing");
        }
        assert_eq!(html.matches("<svg").count(), drawings.len());
        assert!(drawings.len() >= 4, "{}", drawings.len());
    }

    #[test]
    fn losses_failures_and_bottlenecks_are_printed() {
        let mut summary = kept();
        summary.results[0].failures = vec!["3 records missing".into()];
        summary.results[0].client_bound = Some("its queue was never full".into());
        summary.results[1].setup_exceeded_seconds = Some(300.0);
        let text = markdown::markdown(&summary, &[]);
        for part in ["3 records missing", "its queue was never full", "set-up took over 300 s"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }

    #[test]
    fn how_much_a_broker_was_filled_with_is_said_and_why() {
        let mut summary = kept();
        let why = "None of it is in a figure";
        assert!(!markdown::markdown(&summary, &[]).contains(why));
        let produce = summary.plan.workloads.iter().find(|w| w.name == "produce");
        let produce = produce.expect("it was kept").clone();
        assert_eq!(summary.filled(&produce), "");
        for result in summary.results.iter_mut().filter(|r| r.workload == "produce") {
            result.filled_bytes = 4_000_000_000;
        }
        assert_eq!(summary.filled(&produce), "4.00 GB");
        let (text, page) = (markdown::markdown(&summary, &[]), html::html(&summary, &[]));
        assert!(text.contains(why) && page.contains(why));
        assert!(text.contains("| produce | librdkafka | 4.00 GB |"), "{text}");
        assert!(page.contains("<td>produce</td><td>librdkafka</td><td>4.00 GB</td>"), "{page}");
    }

    #[test]
    fn promises_are_named_wherever_they_differ() {
        let summary = kept();
        let text = markdown::markdown(&summary, &[]);
        let header = text.lines().find(|l| l.contains("| Kafka")).expect("a table has Kafka");
        assert!(header.contains("(synced)") && header.contains("(not synced)"), "{header}");
        assert!(text.contains("Not the same promise"));
    }
}
