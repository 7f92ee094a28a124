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
    Frame,
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

/// Keys and readings that may wait to be shown.
const HAPPENINGS: usize = 16;

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

/// Shows a frame each interval, until q, Escape or Control-C, which a broker that hangs does not hold
/// up. One that does not answer, or no more, is asked again.
///
/// # Errors
/// [`TopError::NoTerminal`] and [`TopError::Terminal`].
pub fn live(address: &str, interval: Duration) -> Result<(), TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let mut terminal = ratatui::try_init()?;
    let (sender, happenings) = flume::bounded(HAPPENINGS);
    send_readings(address.to_owned(), interval, sender.clone());
    thread::spawn(move || while sender.send(Happening::Input(event::read())).is_ok() {});
    let shown = show(&happenings, |figures, trouble| {
        let draw = |frame: &mut Frame<'_>| {
            view::render(address, figures, trouble, frame.area(), frame.buffer_mut());
        };
        terminal.draw(draw).map(drop)
    });
    ratatui::try_restore()?;
    Ok(shown?)
}

/// What a frame may change by.
enum Happening {
    /// A key, or another size of the terminal.
    Input(io::Result<Event>),
    /// What the broker says, or why it does not.
    Reading(Result<Reading, TopError>),
}

/// Asks a broker each interval, on a thread of its own, until nobody wants to know.
fn send_readings(address: String, interval: Duration, sender: flume::Sender<Happening>) {
    thread::spawn(move || {
        let clock = SystemClock::default();
        loop {
            let due = clock.monotonic() + interval;
            if sender.send(Happening::Reading(Reading::take(&address, &clock))).is_err() {
                return;
            }
            thread::sleep(due.saturating_sub(clock.monotonic()));
        }
    });
}

/// Draws a frame after each happening, with figures once there are two readings and with what is wrong
/// with the last one, until a key ends it.
fn show(
    happenings: &flume::Receiver<Happening>,
    mut draw: impl FnMut(Option<&Figures>, Option<&str>) -> io::Result<()>,
) -> io::Result<()> {
    let (mut last, mut figures, mut trouble) = (None::<Reading>, None, None);
    draw(None, None)?;
    for happening in happenings {
        match happening {
            Happening::Input(event) => {
                if ends(&event?) {
                    return Ok(());
                }
            }
            Happening::Reading(Ok(reading)) => {
                // Counters that went back are another process's: it starts anew.
                let before = last.filter(|last| last.same_process(&reading));
                figures = before.map(|before| Figures::between(&before, &reading));
                last = Some(reading);
                trouble = None;
            }
            Happening::Reading(Err(error)) => trouble = Some(error.to_string()),
        }
        draw(figures.as_ref(), trouble.as_deref())?;
    }
    Ok(())
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Happening {
        Happening::Input(Ok(Event::Key(KeyEvent::new(code, modifiers))))
    }

    #[test]
    fn keys_are_answered_while_a_broker_hangs() {
        // It takes the connection and never says anything.
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = hanging.local_addr().unwrap().to_string();
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::NONE),
            (KeyCode::Esc, KeyModifiers::NONE),
            (KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            let (sender, happenings) = flume::bounded(HAPPENINGS);
            send_readings(address.clone(), Duration::from_secs(1), sender.clone());
            sender.send(key(KeyCode::Char('x'), KeyModifiers::NONE)).unwrap();
            sender.send(key(code, modifiers)).unwrap();
            let mut drawn = Vec::new();
            let shown = show(&happenings, |figures, trouble| {
                drawn.push((figures.is_some(), trouble.map(str::to_owned)));
                Ok(())
            });
            shown.unwrap();
            assert_eq!(drawn, [(false, None), (false, None)], "nothing was waited for");
        }
    }

    #[test]
    fn figures_stay_while_the_broker_does_not_answer() {
        let reading = |at| {
            let at = Duration::from_secs(at);
            let page = format!("mainstem_uptime_seconds {}\n", at.as_secs());
            Happening::Reading(Ok(Reading::parse(at, &page, Default::default())))
        };
        let failed = TopError::NoAnswer { address: "a:1".to_owned(), reason: "late".to_owned() };
        let (sender, happenings) = flume::bounded(HAPPENINGS);
        for happening in [reading(5), reading(6), Happening::Reading(Err(failed)), reading(1)] {
            sender.send(happening).unwrap();
        }
        sender.send(key(KeyCode::Esc, KeyModifiers::NONE)).unwrap();
        let mut drawn = Vec::new();
        let shown = show(&happenings, |figures, trouble| {
            let uptime_s = figures.map(|figures| figures.uptime_s);
            drawn.push((uptime_s, trouble.map(str::to_owned)));
            Ok(())
        });
        shown.unwrap();
        let late = Some("a:1: late".to_owned());
        let expected = [(None, None), (None, None), (Some(6.0), None), (Some(6.0), late)];
        assert_eq!(drawn[..4], expected);
        assert_eq!(drawn[4], (None, None), "another process starts anew");
    }
}
