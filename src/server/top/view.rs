//! A frame: figures as text in a terminal's cells.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Paragraph, Row, Table, Widget as _},
};

use super::figures::{Figures, StageFigures};

/// Draws a frame. Without figures, before the second reading, it says so.
pub fn render(
    address: &str,
    figures: Option<&Figures>,
    trouble: Option<&str>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let Some(figures) = figures else {
        let wait = trouble.unwrap_or("reading");
        return Line::from(format!("mainstem at {address}: {wait}")).render(area, buffer);
    };
    let stages = figures.stages.len() as u16 + 3;
    let parts = [Constraint::Length(6), Constraint::Length(stages), Constraint::Fill(1)];
    let [head, middle, rest] = Layout::vertical(parts).areas(area);
    let half = [Constraint::Fill(1), Constraint::Fill(1)];
    let [topics, groups] = Layout::horizontal(half).spacing(2).areas(rest);
    Paragraph::new(header(address, figures, trouble)).render(head, buffer);
    stage_table(figures).render(middle, buffer);
    topic_table(figures).render(topics, buffer);
    group_table(figures).render(groups, buffer);
}

/// A frame's cells as lines of text, without what is empty at their ends.
pub fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    };
    let lines: Vec<_> = buffer.content.chunks(width).map(line).collect();
    format!("{}\n", lines.join("\n").trim_end())
}

fn header(address: &str, figures: &Figures, trouble: Option<&str>) -> Vec<Line<'static>> {
    let f = figures;
    let wrong = trouble.map(str::to_owned).into_iter();
    let wrong: Vec<_> = wrong.chain(f.troubles.iter().map(|text| (*text).to_owned())).collect();
    let state = match wrong.as_slice() {
        [] => Span::styled("fine", Style::new().fg(Color::Green)),
        wrong => Span::styled(wrong.join(", "), Style::new().fg(Color::Red)),
    };
    let title = format!("mainstem at {address}, up {}: ", span(f.uptime_s));
    let (batch, records) = (f.batches_in, f.messages_in);
    let a_batch = if batch > 0.0 { records / batch } else { 0.0 };
    vec![
        Line::from(vec![title.bold(), state]),
        Line::from(format!(
            "in   {:>9} messages/s  {:>10}/s  {:>9} batches/s of {a_batch:.1}",
            count(f.messages_in),
            bytes(f.bytes_in),
            count(f.batches_in),
        )),
        Line::from(format!(
            "out  {:>9} messages/s  {:>10}/s",
            count(f.messages_out),
            bytes(f.bytes_out)
        )),
        Line::from(format!(
            "log  {:>9} not durable yet, {} written/s, {} on disk",
            bytes(f.log_lag_bytes),
            bytes(f.bytes_written),
            bytes(f.log_disk_bytes),
        )),
        Line::from(format!(
            "uses {:>9.2} cores, {} resident; {} connections, {} partitions, {} groups",
            f.cpu,
            bytes(f.resident_bytes),
            f.connections,
            f.partitions,
            f.groups,
        )),
    ]
}

fn table<'a>(
    title: &'a str,
    names: Vec<&'static str>,
    rows: impl IntoIterator<Item = Vec<String>>,
    first: u16,
) -> Table<'a> {
    let right = |index: usize, text: String| {
        let line = Line::from(text);
        Cell::from(if index == 0 { line } else { line.right_aligned() })
    };
    let row = |cells: Vec<String>| {
        Row::new(cells.into_iter().enumerate().map(|(index, text)| right(index, text)))
    };
    let widths = names.iter().enumerate().map(|(index, _)| match index {
        0 => Constraint::Min(first),
        _ => Constraint::Length(12),
    });
    let widths: Vec<_> = widths.collect();
    let names = names.into_iter().map(str::to_owned).collect();
    Table::new(rows.into_iter().map(row), widths)
        .header(row(names).bold())
        .block(Block::new().borders(Borders::TOP).title(title))
}

fn stage_table(figures: &Figures) -> Table<'static> {
    let row = |stage: &StageFigures| {
        let time = |time: fn(super::figures::StageTimes) -> f64| {
            stage.times.map_or("-".to_owned(), |times| span(time(times)))
        };
        let (mean, p50, p99) =
            (time(|times| times.mean_s), time(|times| times.p50_s), time(|times| times.p99_s));
        vec![stage.name.to_owned(), count(stage.rate), mean, p50, p99]
    };
    let names = vec!["stage", "a second", "mean", "p50", "p99"];
    table(" stages ", names, figures.stages.iter().map(row).collect::<Vec<_>>(), 12)
}

fn topic_table(figures: &Figures) -> Table<'static> {
    let topics = figures.top.topics.iter();
    let row = |topic: &crate::admin::TopicRate| {
        vec![topic.topic.clone(), count(topic.messages_per_s), count(topic.messages as f64)]
    };
    let names = vec!["topic", "messages/s", "in all"];
    table(" busiest topics ", names, topics.map(row).collect::<Vec<_>>(), 20)
}

fn group_table(figures: &Figures) -> Table<'static> {
    let groups = figures.top.groups.iter();
    let row = |group: &crate::admin::GroupLag| {
        let worst = format!("{} {}", count(group.worst_lag_messages as f64), group.worst);
        vec![group.group.clone(), count(group.lag_messages as f64), worst]
    };
    let names = vec!["group", "behind", "most in"];
    table(" slowest groups ", names, groups.map(row).collect::<Vec<_>>(), 20).widths([
        Constraint::Fill(1),
        Constraint::Length(9),
        Constraint::Fill(1),
    ])
}

/// A number with three digits or so: 12.3k.
fn count(number: f64) -> String {
    scaled(number, &["", "k", "M", "G", "T"])
}

fn bytes(number: f64) -> String {
    scaled(number, &[" B", " kB", " MB", " GB", " TB"])
}

fn scaled(number: f64, units: &[&str]) -> String {
    let (mut number, mut unit) = (number, 0);
    while number >= 999.5 && unit + 1 < units.len() {
        (number, unit) = (number / 1e3, unit + 1);
    }
    let digits = if unit == 0 || number >= 99.95 { 0 } else { 1 };
    format!("{number:.digits$}{}", units[unit])
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_999_5 => format!("{:.0} µs", s * 1e6),
        s if s < 0.999_5 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::{
        admin::{GroupLag, Top, TopicRate},
        base::Stage,
        server::top::figures::StageTimes,
    };

    fn figures() -> Figures {
        let times = StageTimes { mean_s: 0.000_06, p50_s: 0.000_045, p99_s: 0.002_5 };
        let stage = |stage: Stage| {
            let times = (stage == Stage::Write).then_some(times);
            StageFigures {
                name: stage.name(),
                rate: if times.is_some() { 1_234.0 } else { 0.0 },
                times,
            }
        };
        let topic =
            TopicRate { topic: "orders".into(), messages_per_s: 12_345.0, messages: 2_000_000 };
        let group = GroupLag {
            group: "billing".into(),
            lag_messages: 1_500,
            worst: "orders-3".into(),
            worst_lag_messages: 900,
        };
        Figures {
            uptime_s: 7_500.0,
            messages_in: 12_345.0,
            batches_in: 1_234.5,
            bytes_in: 12.6e6,
            messages_out: 24_690.0,
            bytes_out: 25.2e6,
            bytes_written: 13.1e6,
            log_lag_bytes: 65_536.0,
            log_disk_bytes: 1.2e9,
            cpu: 0.37,
            resident_bytes: 171e6,
            connections: 12.0,
            partitions: 40.0,
            groups: 1.0,
            stages: Stage::ALL.into_iter().map(stage).collect(),
            top: Top { window_s: 1.0, topics: vec![topic], groups: vec![group] },
            ..Figures::default()
        }
    }

    fn drawn(figures: Option<&Figures>, trouble: Option<&str>, size: (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        let drawn = terminal
            .draw(|frame| render("here:1", figures, trouble, frame.area(), frame.buffer_mut()));
        text(drawn.unwrap().buffer)
    }

    #[test]
    fn a_frame_shows_it_all() {
        let text = drawn(Some(&figures()), None, (100, 24));
        let lines: Vec<&str> = text.lines().collect();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = [
            (0, "mainstem at here:1, up 2.1 h: fine"),
            (1, "in 12.3k messages/s 12.6 MB/s 1.2k batches/s of 10.0"),
            (2, "out 24.7k messages/s 25.2 MB/s"),
            (3, "log 65.5 kB not durable yet, 13.1 MB written/s, 1.2 GB on disk"),
            (4, "uses 0.37 cores, 171 MB resident; 12 connections, 40 partitions, 1 groups"),
            (7, "stage a second mean p50 p99"),
            (11, "write 1.2k 60 µs 45 µs 2.5 ms"),
            (12, "answer 0 - - -"),
            (19, "topic messages/s in all group behind most in"),
            (20, "orders 12.3k 2.0M billing 1.5k 900 orders-3"),
        ];
        for (number, line) in expected {
            assert_eq!(words(lines[number]), line, "{text}");
        }
        assert!(lines[6].contains(" stages ") && lines[18].contains(" slowest groups "), "{text}");
    }

    #[test]
    fn what_is_wrong_is_said_first() {
        let stopped = Figures { troubles: vec!["the log is stopped"], ..figures() };
        let text = drawn(Some(&stopped), Some("no answer"), (100, 24));
        assert!(text.starts_with("mainstem at here:1, up 2.1 h: no answer, the log is stopped\n"));
        assert_eq!(drawn(None, None, (80, 24)), "mainstem at here:1: reading\n");
        assert_eq!(drawn(None, Some("refused"), (80, 24)), "mainstem at here:1: refused\n");
    }

    #[test]
    fn any_size_of_a_terminal_will_do() {
        for size in [(1, 1), (20, 5), (300, 100)] {
            drawn(Some(&figures()), None, size);
        }
    }
}
