//! The lines RocketMQ's benchmark programs print: once a report interval, over the last nine
//! seconds, since they keep ten snapshots a second apart.

/// What each line covers, in seconds.
pub const LINE_SECONDS: u64 = 9;

/// A line understood. Its fields are separated by bars, each `name: value`; those of
/// `benchmark.Producer`, `BatchProducer` and `Consumer` differ, as do their names for one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchmarkLine {
    /// Messages a second.
    pub messages_per_second: u64,
    /// Mean time from a call until its answer, or from a message's birth until it is consumed, in
    /// milliseconds. None if there was no message.
    pub mean_ms: Option<f64>,
    /// The longest of these, in milliseconds: since a producer started, and since a consumer's line
    /// before.
    pub max_ms: u64,
    /// Messages that failed since the program started.
    pub failed: u64,
    /// Messages acknowledged since then. Only programs of ours tell it.
    pub total: Option<u64>,
}

impl BenchmarkLine {
    /// Takes a line apart. None if it is something else that the program had to say.
    pub fn parse(line: &str) -> Option<Self> {
        if !line.starts_with("Current Time: ") {
            return None;
        }
        // A batch's own rate and failures come beside those of its messages, which count.
        let rate = value(line, &["Send MPS", "Send TPS", "Consume TPS"])?;
        let mean = value(line, &["Average RT(ms)", "AVG(B2C) RT(ms)"])?;
        let max = value(line, &["Max RT(ms)", "MAX(B2C) RT(ms)"])?;
        let failed = value(line, &["Send Message Failed", "Send Failed", "Consume Fail"])?;
        let refused = value(line, &["Response Failed"]).unwrap_or("0");
        let total = value(line, &["Send Total"]);
        Some(Self {
            messages_per_second: rate.parse().ok()?,
            mean_ms: mean.parse().ok().filter(|mean: &f64| mean.is_finite()),
            max_ms: max.parse().ok()?,
            failed: failed.parse::<u64>().ok()? + refused.parse::<u64>().ok()?,
            total: total.map(str::parse).transpose().ok()?,
        })
    }

    /// The messages it covers.
    pub fn messages(&self) -> u64 {
        self.messages_per_second * LINE_SECONDS
    }
}

/// The value of the first of these names that the line has.
fn value<'a>(line: &'a str, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| {
        let mut fields = line.split(" | ");
        fields.find_map(|field| Some(field.strip_prefix(name)?.strip_prefix(':')?.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producers_line() {
        let line = "Current Time: 2026-11-21 10:02:33,123 | Send TPS: 8912 | Max RT(ms): 201 | \
                    Average RT(ms):   1.795 | Send Failed: 2 | Response Failed: 1";
        let parsed = BenchmarkLine::parse(line).expect("it is one");
        assert_eq!(
            parsed,
            BenchmarkLine {
                messages_per_second: 8912,
                mean_ms: Some(1.795),
                max_ms: 201,
                failed: 3,
                total: None,
            }
        );
        assert_eq!(parsed.messages(), 80_208);
    }

    #[test]
    fn a_batch_producers_line_counts_messages_not_batches() {
        let line = "Current Time: 2026-11-21 10:02:33,123 | Send TPS: 5125 | Send MPS: 164000 | \
                    Max RT(ms): 31 | Average RT(ms):   0.780 | Average Message RT(ms):   0.024 | \
                    Send Failed: 1 | Send Message Failed: 32";
        assert_eq!(
            BenchmarkLine::parse(line),
            Some(BenchmarkLine {
                messages_per_second: 164_000,
                mean_ms: Some(0.78),
                max_ms: 31,
                failed: 32,
                total: None,
            })
        );
    }

    #[test]
    fn a_consumers_line() {
        let line = "Current Time: 2026-11-21 10:02:33,123 | Consume TPS: 166012 | \
                    AVG(B2C) RT(ms): 8123.250 | AVG(S2C) RT(ms): 8122.000 | MAX(B2C) RT(ms): 9000 \
                    | MAX(S2C) RT(ms): 8999 | Consume Fail: 0";
        assert_eq!(
            BenchmarkLine::parse(line),
            Some(BenchmarkLine {
                messages_per_second: 166_012,
                mean_ms: Some(8123.25),
                max_ms: 9000,
                failed: 0,
                total: None,
            })
        );
    }

    #[test]
    fn a_line_of_ours_tells_the_total() {
        let line = "Current Time: 1 | Send TPS: 8912 | Max RT(ms): 201 | Average RT(ms): 1.795 | \
                    Send Failed: 0 | Response Failed: 0 | Send Total: 98765";
        assert_eq!(BenchmarkLine::parse(line).and_then(|line| line.total), Some(98_765));
    }

    #[test]
    fn no_message_has_no_mean_and_other_words_are_no_line() {
        let line = "Current Time: 2026-11-21 10:02:33,123 | Send TPS: 0 | Max RT(ms): 0 | \
                    Average RT(ms):     NaN | Send Failed: 16 | Response Failed: 0";
        let parsed = BenchmarkLine::parse(line).expect("it is one");
        assert_eq!((parsed.mean_ms, parsed.failed), (None, 16));
        assert_eq!(BenchmarkLine::parse("Consumer Started."), None);
        assert_eq!(BenchmarkLine::parse("Current Time: now | Send TPS: many"), None);
    }
}
