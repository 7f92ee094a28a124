//! `mainstem top`: what a running broker does, in a terminal.
//!
//! All it shows comes from the admin port, `/metrics` and `/top`, asked once each interval.

mod figures;
mod reading;
mod view;

use std::{
    io::{self, IsTerminal as _},
    thread,
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    buffer::Buffer,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::Rect,
};
use thiserror::Error;

use crate::env::{Clock as _, blocking::SystemClock};
use figures::Figures;
use reading::Reading;

/// Columns and lines of a frame that is printed.
const PRINTED: Rect = Rect::new(0, 0, 110, 48);

/// Why there is nothing to see.
#[derive(Debug, Error)]
pub enum TopError {
    /// The broker does not answer as one.
    #[error("{address}: {reason}")]
    NoAnswer {
        /// Where it was asked.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// Nobody would see it move.
    #[error("standard output is no terminal: use --once")]
    NoTerminal,
    /// The terminal failed.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// Takes two readings, `interval` apart, and gives one frame as plain text.
///
/// # Errors
/// [`TopError::NoAnswer`].
pub fn once(address: &str, interval: Duration) -> Result<String, TopError> {
    let clock = SystemClock::default();
    let first = Reading::take(address, &clock)?;
    thread::sleep(interval);
    let figures = Figures::between(&first, &Reading::take(address, &clock)?);
    let mut buffer = Buffer::empty(PRINTED);
    view::render(address, Some(&figures), None, PRINTED, &mut buffer);
    Ok(view::text(&buffer))
}

/// Shows a frame each interval, until q, Escape or Control-C. A broker that does not answer, or no
/// more, is asked again.
///
/// # Errors
/// [`TopError::NoTerminal`] and [`TopError::Terminal`].
pub fn live(address: &str, interval: Duration) -> Result<(), TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, address, interval);
    ratatui::try_restore()?;
    Ok(shown?)
}

fn show(terminal: &mut DefaultTerminal, address: &str, interval: Duration) -> io::Result<()> {
    let clock = SystemClock::default();
    let (mut last, mut figures) = (None::<Reading>, None);
    loop {
        let due = clock.monotonic() + interval;
        let trouble = match Reading::take(address, &clock) {
            Ok(reading) => {
                // Counters that went back are another process's: it starts anew.
                let before = last.filter(|last: &Reading| last.same_process(&reading));
                figures = before.map(|before| Figures::between(&before, &reading));
                last = Some(reading);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        loop {
            terminal.draw(|frame| {
                let trouble = trouble.as_deref();
                view::render(address, figures.as_ref(), trouble, frame.area(), frame.buffer_mut());
            })?;
            let now = clock.monotonic();
            if now >= due {
                break;
            }
            if event::poll(due - now)? && ends(&event::read()?) {
                return Ok(());
            }
        }
    }
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}
