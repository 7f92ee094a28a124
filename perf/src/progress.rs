//! What is being done, for those who wait: a bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(500);
const TEMPLATE: &str = "{bar:24} {pos}/{len} {elapsed_precise}, {eta} left: {msg}";

/// A bar of one comparison.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of so many steps, some of which are done.
    pub fn new(steps: usize, done: usize) -> Self {
        let bar = ProgressBar::new(steps as u64).with_position(done as u64);
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is right");
        let bar = bar.with_style(style);
        // What is done already says nothing about the time that is left.
        bar.reset_eta();
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self { bar }
    }

    /// Says what is being done.
    pub fn say(&self, what: &str) {
        match self.bar.is_hidden() {
            true => eprintln!("{what}"),
            false => self.bar.set_message(what.to_owned()),
        }
    }

    /// One step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
