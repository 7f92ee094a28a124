//! What a comparison found, ready to be printed: a table for each tier, the same cells in Markdown
//! and HTML. Losses are printed like wins.

use super::chart::figure;
use super::metric::{Metric, metrics};
use crate::run_directory::{Contestant, Plan};
use crate::run_result::RunResult;
use crate::system::SystemOptions;
use crate::variant::Variant;
use crate::workload::{SystemName, Tier, Workload};

/// Why brokers were filled.
const FILLED: &str = "\
    Where the list of workloads says so, the broker had been filled before: the raw generator had \
    written that much into a topic of its own, records of 1 KiB in batches of 1 MiB or, for \
    RocketMQ's clients, of 32 messages, the same for each system, and the disk had settled. \
    None of it is in a figure, except that resident memory is what it is after it. A broker just \
    started touches its memory, or the page cache, for the first time, which can cost several times \
    the work itself in a virtual machine; one that has run for a while does not.";

/// All there is to print.
pub struct Summary<'a> {
    /// What was to be done.
    pub plan: &'a Plan,
    /// What was.
    pub results: Vec<RunResult>,
}

/// What one tier's contestants did.
pub struct Table<'a> {
    /// Which promises are compared.
    pub tier: Tier,
    /// Who.
    pub columns: Vec<&'a Contestant>,
    /// The figures.
    pub rows: Vec<Row>,
}

/// One figure.
pub struct Row {
    /// The workload; empty if it is that of the row before.
    pub workload: String,
    /// What the figure is.
    pub title: String,
    /// Each contestant's.
    pub cells: Vec<String>,
    /// How Mainstem did beside the others.
    pub verdict: String,
}

impl Tier {
    /// What to write above its table.
    pub fn heading(self) -> &'static str {
        match self {
            Tier::AsShipped => "As shipped: the promises differ",
            Tier::Synced => "Synced: an answered record is on the disk",
            Tier::Unsynced => "Not synced: an answered record may still be lost",
        }
    }

    /// What its reader has to know.
    pub fn note(self) -> &'static str {
        match self {
            Tier::AsShipped => {
                "Not the same promise: Mainstem answers once a record is on the disk (synced), the \
                 others at their defaults before that (not synced), so that a machine without power \
                 loses what they had answered last."
            }
            Tier::Synced => {
                "Every system waits for the disk before it answers: Mainstem at its defaults, Kafka \
                 with log.flush.interval.messages=1, RocketMQ with flushDiskType=SYNC_FLUSH."
            }
            Tier::Unsynced => {
                "No system waits for the disk: Mainstem with log.flush = async, the others at their \
                 defaults."
            }
        }
    }
}

/// What a promise is called.
pub fn promise(variant: Variant) -> &'static str {
    if variant.synced { "synced" } else { "not synced" }
}

impl<'a> Summary<'a> {
    /// The tiers' tables. One with nobody in it is left out.
    pub fn tables(&self) -> Vec<Table<'_>> {
        let tables = self.plan.tiers.iter().map(|tier| self.table(*tier));
        tables.filter(|table| !table.rows.is_empty()).collect()
    }

    fn table(&self, tier: Tier) -> Table<'_> {
        let takes_part = |c: &&Contestant| {
            let mut workloads = self.plan.workloads.iter();
            workloads.any(|w| self.plan.tiers(w, c.variant).contains(&tier))
        };
        let columns: Vec<_> = self.plan.contestants.iter().filter(takes_part).collect();
        let mut rows = Vec::new();
        for workload in self.plan.workloads.iter().filter(|w| w.tiers.contains(&tier)) {
            let of = |c: &&Contestant| self.runs(workload, c.variant);
            let runs: Vec<Vec<&RunResult>> = columns.iter().map(of).collect();
            for (i, metric) in metrics(workload).into_iter().enumerate() {
                let workload = if i == 0 { workload.name.clone() } else { String::new() };
                rows.extend(row(workload, &metric, &columns, &runs));
            }
        }
        Table { tier, columns, rows }
    }

    /// All runs of a workload by one contestant.
    pub fn runs(&self, workload: &Workload, variant: Variant) -> Vec<&RunResult> {
        let variant = variant.to_string();
        let of = |r: &&RunResult| r.workload == workload.name && r.variant == variant;
        self.results.iter().filter(of).collect()
    }

    /// Those of them that went well.
    pub fn good_runs(&self, workload: &Workload, variant: Variant) -> Vec<&RunResult> {
        good(&self.runs(workload, variant))
    }

    /// Every failure of every run.
    pub fn failures(&self) -> Vec<String> {
        self.results
            .iter()
            .flat_map(|r| {
                let place = format!("run {}, {}, {}", r.run, r.variant, r.workload);
                r.failures.iter().map(move |failure| format!("{place}: {failure}"))
            })
            .collect()
    }

    /// Runs in which not the broker was the bottleneck.
    pub fn client_bound(&self) -> Vec<String> {
        let of = |r: &RunResult| {
            let why = r.client_bound.as_ref()?;
            Some(format!("run {}, {}, {}: {why}", r.run, r.variant, r.workload))
        };
        self.results.iter().filter_map(of).collect()
    }

    /// How many records were lost, doubled or out of order in all runs that read them back.
    pub fn accounts(&self) -> (u64, u64, u64) {
        let found = self.results.iter().filter_map(|r| r.findings.as_ref());
        found.fold((0, 0, 0), |(missing, doubled, disorder), f| {
            (missing + f.missing, doubled + f.duplicates, disorder + f.out_of_order)
        })
    }

    /// What was written to the brokers before a workload, if anything was.
    pub fn filled(&self, workload: &Workload) -> String {
        let of = self.results.iter().filter(|r| r.workload == workload.name);
        let bytes = || of.clone().map(|r| r.filled_bytes).filter(|bytes| *bytes > 0);
        let gb = |bytes: u64| figure(bytes as f64 / 1e9);
        match (bytes().min(), bytes().max()) {
            (Some(least), Some(most)) if least < most => format!("{}–{} GB", gb(least), gb(most)),
            (Some(bytes), _) => format!("{} GB", gb(bytes)),
            _ => String::new(),
        }
    }

    /// How many results are not there yet.
    pub fn outstanding(&self) -> usize {
        self.plan.all_results().saturating_sub(self.results.len())
    }

    /// What a reader has to know of how the figures came about.
    pub fn notes(&self) -> Vec<String> {
        let plan = self.plan;
        let mut notes = Vec::new();
        if plan.quick {
            notes.push("Quick run: it shows that everything works; no figure means much.".into());
        }
        if self.outstanding() > 0 {
            let (left, all) = (self.outstanding(), plan.all_results());
            notes.push(format!("Unfinished: {left} of {all} results are still missing."));
        }
        let (missing, doubled, disorder) = self.accounts();
        let read = self.results.iter().filter(|r| r.findings.is_some()).count();
        let all = self.results.len();
        let cells = match plan.runs {
            1 => "One run each.".to_owned(),
            runs => format!("Medians of {runs} runs, their extremes in brackets."),
        };
        notes.extend([
            format!(
                "{cells} Latencies are those of all runs' histograms merged, in brackets those of \
                 single runs. MB and GB are decimal, and count the records' own bytes."
            ),
            "Client and broker share the machine; one system runs at a time, in turn, each turn on \
             an empty directory, another system first in each round; what the disk still had to \
             write is waited for before each workload."
                .into(),
            format!(
                "Before its first workload each broker for Kafka's clients is given {} records to \
                 take in and to serve, so that a JVM is warm; workloads that write have a warm-up of \
                 their own besides.",
                plan.warmup_records
            ),
            "At a fixed rate latency counts from when each record was to be sent; where a client sends \
             as fast as it can, from when it gave the record to its library."
                .into(),
            format!(
                "Records carry their number. {read} of {all} results read all of theirs back: \
                 {missing} missing, {doubled} doubled, {disorder} out of order. The others compared \
                 how many records the broker says it holds with how many it had acknowledged: one lost \
                 and one doubled are not seen there. Messages of RocketMQ's own programs carry no \
                 number; of a consumer of theirs it is known that its group's offsets came to the end."
            ),
        ]);
        if self.results.iter().any(|r| r.filled_bytes > 0) {
            notes.push(FILLED.into());
        }
        notes
    }

    /// The settings over the systems' defaults.
    pub fn settings(&self) -> Vec<String> {
        let SystemOptions { places, kafka, rocketmq } = &self.plan.options;
        let ours = places.mainstem_args.iter().map(|a| format!("mainstem: {a}"));
        let kafka = kafka.kafka_set.iter().map(|s| format!("kafka: {s}"));
        let rocketmq = rocketmq.rocketmq_set.iter().map(|s| format!("rocketmq: {s}"));
        ours.chain(kafka).chain(rocketmq).collect()
    }
}

/// A figure of every contestant; none if no one has it.
fn row(
    workload: String,
    metric: &Metric,
    columns: &[&Contestant],
    runs: &[Vec<&RunResult>],
) -> Option<Row> {
    // A system that was given up in one run is not compared by what it did in others.
    let given_up = |runs: &[&RunResult]| runs.iter().any(|r| r.setup_exceeded_seconds.is_some());
    let value = |runs: &Vec<&RunResult>| metric.value(&good(runs)).filter(|_| !given_up(runs));
    let values: Vec<Option<f64>> = runs.iter().map(value).collect();
    let gone = |r: &&&RunResult| !r.failures.is_empty() || r.setup_exceeded_seconds.is_some();
    if values.iter().all(Option::is_none) && !runs.iter().flatten().any(|r| gone(&r)) {
        return None;
    }
    let cells = runs.iter().map(|runs| cell(metric, runs)).collect();
    let verdict = verdict(metric, columns, &values);
    Some(Row { workload, title: metric.title.to_owned(), cells, verdict })
}

fn good<'r>(runs: &[&'r RunResult]) -> Vec<&'r RunResult> {
    let counts = |r: &&&RunResult| r.failures.is_empty() && r.setup_exceeded_seconds.is_none();
    runs.iter().filter(counts).copied().collect()
}

fn cell(metric: &Metric, runs: &[&RunResult]) -> String {
    let good = good(runs);
    if let Some(seconds) = runs.iter().find_map(|r| r.setup_exceeded_seconds) {
        return format!("set-up took over {seconds:.0} s");
    }
    let Some(value) = metric.value(&good) else {
        return if runs.is_empty() || !good.is_empty() { String::new() } else { "failed".into() };
    };
    let each: Vec<f64> = good.iter().filter_map(|r| metric.value(&[*r])).collect();
    let bound = good.iter().any(|r| r.client_bound.is_some());
    let mut text = figure(value);
    if each.len() > 1 {
        let low = each.iter().copied().fold(f64::INFINITY, f64::min);
        let high = each.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        text += &format!(" ({}–{})", figure(low), figure(high));
    }
    if good.len() < runs.len() {
        text += &format!(", {} failed", runs.len() - good.len());
    }
    // Marked where the figure might be better with a faster client.
    text + if bound && metric.is_the_clients_too { " †" } else { "" }
}

fn verdict(metric: &Metric, columns: &[&Contestant], values: &[Option<f64>]) -> String {
    let ours = columns.iter().position(|c| c.variant.system == SystemName::Mainstem);
    let Some(ours_value) = ours.and_then(|i| values[i]) else { return String::new() };
    let others = columns.iter().zip(values).enumerate().filter(|(i, _)| Some(*i) != ours);
    let words: Vec<String> = others
        .filter_map(|(_, (column, theirs))| {
            let words = compare(ours_value, (*theirs)?, metric.higher_is_better)?;
            Some(match columns.len() {
                2 => words,
                _ => format!("{words} than {}", column.title),
            })
        })
        .collect();
    words.join("; ")
}

/// How ours is beside theirs.
fn compare(ours: f64, theirs: f64, higher_is_better: bool) -> Option<String> {
    if ours <= 0.0 || theirs <= 0.0 {
        return None;
    }
    let ratio = if higher_is_better { ours / theirs } else { theirs / ours };
    Some(match ratio {
        r if r >= 1.005 => format!("{r:.2} × better"),
        r if r <= 0.995 => format!("{:.2} × worse", 1.0 / r),
        _ => "the same".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_said_as_plainly_as_wins() {
        assert_eq!(compare(4.0, 2.0, true).as_deref(), Some("2.00 × better"));
        assert_eq!(compare(4.0, 2.0, false).as_deref(), Some("2.00 × worse"));
        assert_eq!(compare(1.0, 2.0, true).as_deref(), Some("2.00 × worse"));
        assert_eq!(compare(1.0, 1.001, true).as_deref(), Some("the same"));
        assert_eq!(compare(0.0, 1.0, true), None);
    }
}
