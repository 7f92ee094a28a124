//! The search for the highest rate that is sustained: doubled until one is not, then bisected.

/// Where the search stands. Rates are records a second.
pub struct RateSearch {
    next: f64,
    sustained: Option<f64>,
    failed: Option<f64>,
}

/// Between two rates of less than this ratio nothing is looked for.
const PRECISION: f64 = 1.1;
/// Below this a system is held not to sustain any rate.
const LOWEST: f64 = 100.0;
/// Above this nobody's client gets.
const HIGHEST: f64 = 100e6;

impl RateSearch {
    /// A search that begins with this rate.
    pub fn from(rate: f64) -> Self {
        Self { next: rate, sustained: None, failed: None }
    }

    /// The rate to try, as long as there is one.
    pub fn next(&self) -> Option<f64> {
        match (self.sustained, self.failed) {
            (Some(low), Some(high)) if high / low < PRECISION => None,
            _ => (LOWEST..=HIGHEST).contains(&self.next).then_some(self.next),
        }
    }

    /// Takes note of whether that rate was sustained.
    pub fn note(&mut self, sustained: bool) {
        match sustained {
            true => self.sustained = Some(self.next),
            false => self.failed = Some(self.next),
        }
        self.next = match (self.sustained, self.failed) {
            (Some(low), Some(high)) => (low * high).sqrt().round(),
            (Some(low), None) => low * 2.0,
            (None, Some(high)) => (high / 2.0).round(),
            (None, None) => self.next,
        };
    }

    /// The highest rate that was sustained.
    pub fn highest(&self) -> Option<f64> {
        self.sustained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(capacity: f64) -> (Option<f64>, usize) {
        let (mut search, mut steps) = (RateSearch::from(8_000.0), 0);
        while let Some(rate) = search.next() {
            search.note(rate <= capacity);
            steps += 1;
        }
        (search.highest(), steps)
    }

    #[test]
    fn the_knee_is_found_from_either_side() {
        for capacity in [150.0, 3_000.0, 8_000.0, 123_456.0, 2_000_000.0] {
            let (found, steps) = search(capacity);
            let found = found.expect("some rate is sustained");
            assert!(found <= capacity && found * PRECISION >= capacity, "{capacity}: {found}");
            assert!(steps <= 14, "{capacity}: {steps} steps");
        }
    }

    #[test]
    fn a_system_that_sustains_nothing_is_left_alone() {
        let (found, steps) = search(10.0);
        assert_eq!(found, None);
        assert!(steps < 10);
    }
}
