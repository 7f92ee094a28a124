//! Charts as SVG, made here so that the report needs nothing from elsewhere. Colours follow the
//! reader's light or dark scheme.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 48.0;

/// Names of lines beside each other above a chart.
const NAMES_IN_A_ROW: usize = 3;

/// How many colours there are; a system keeps its own throughout.
pub const COLOURS: usize = 4;

/// Belongs into every drawing, so that it is complete by itself.
pub const STYLE: &str = "\
.chart{font:12px system-ui,sans-serif}\
.chart text{fill:#333}.chart .grid{stroke:#ddd}.chart .title{font-size:14px;font-weight:600}\
.chart .ground{fill:#fff}.c0{--c:#0b62d6}.c1{--c:#c4570c}.c2{--c:#0b7d4f}.c3{--c:#8a3fb0}\
.chart .line{fill:none;stroke:var(--c);stroke-width:2}.chart .dot,.chart .bar{fill:var(--c)}\
.chart .dashed{stroke-dasharray:6 4}.chart .knee{fill:none;stroke:var(--c);stroke-width:2}\
@media(prefers-color-scheme:dark){.chart text{fill:#ddd}.chart .grid{stroke:#3a3f47}\
.chart .ground{fill:#16191e}.c0{--c:#6aa7ff}.c1{--c:#ff9d57}.c2{--c:#4fd19b}.c3{--c:#cd91ee}}";

/// How values are laid out along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps, from zero.
    Linear,
    /// Equal ratios.
    Log,
    /// Percentiles: as much room from 99 to 99.9 as from 90 to 99.
    Nines,
}

/// An axis of a chart.
pub struct Axis {
    /// What it shows, with the unit.
    pub label: &'static str,
    /// How.
    pub scale: Scale,
}

/// A line of a chart.
pub struct Series {
    /// Whose it is.
    pub name: String,
    /// Its colour's number.
    pub colour: usize,
    /// Whether it is drawn dashed.
    pub dashed: bool,
    /// Its points in the order of x.
    pub points: Vec<(f64, f64)>,
    /// A point to mark, and what to say of it.
    pub mark: Option<(f64, f64, String)>,
}

/// Lines over two axes.
pub struct LineChart {
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// Bars in groups; each group has a scale of its own, its values stand beside them.
pub struct BarChart {
    /// What it shows, with the unit.
    pub title: String,
    /// Each group's name and its bars.
    pub groups: Vec<(String, Vec<Bar>)>,
}

/// A bar: whose it is, its colour's number, its value.
pub type Bar = (String, usize, f64);

/// An axis with its ends, in the scale's own measure.
struct Ruler {
    scale: Scale,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// A value's place along the axis, before it is fitted to the drawing.
    fn measure(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
            // The last step is to 100 %, which lies infinitely far away.
            Scale::Nines => -(1.0 - (value / 100.0).min(0.999_999)).log10(),
        }
    }

    fn ticks(self, from: f64, to: f64) -> Vec<f64> {
        match self {
            Scale::Linear => {
                let step = 10_f64.powf((to.max(1e-12) / 3.0).log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * step);
                let step = step.into_iter().find(|s| to / s <= 6.0).unwrap_or(to);
                (0..=6).map(|i| f64::from(i) * step).filter(|t| *t <= to).collect()
            }
            Scale::Log => {
                let decades = from.floor() as i32..=to.ceil() as i32;
                let wide = to - from > 2.0;
                let of = |d: i32| {
                    let factors = if wide { &[1.0][..] } else { &[1.0, 2.0, 5.0] };
                    factors.iter().map(move |f| f * 10_f64.powi(d)).collect::<Vec<_>>()
                };
                let inside = |t: &f64| (from - 1e-9..=to + 1e-9).contains(&t.log10());
                decades.flat_map(of).filter(inside).collect()
            }
            Scale::Nines => {
                let all = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
                all.into_iter().filter(|t| Scale::Nines.measure(*t) <= to + 1e-9).collect()
            }
        }
    }
}

impl Ruler {
    fn over(scale: Scale, values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.map(|v| scale.measure(v)).filter(|v| v.is_finite()) {
            (from, to) = (from.min(value), to.max(value));
        }
        if scale != Scale::Log {
            from = 0.0;
        }
        if to - from < 1e-9 {
            to = from + 1.0;
        }
        Self { scale, from, to, start, end }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (self.scale.measure(value) - self.from) / (self.to - self.from);
        self.start + share * (self.end - self.start)
    }

    fn ticks(&self) -> Vec<f64> {
        self.scale.ticks(self.from, self.to)
    }
}

/// Three significant digits, or all of those before the point.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e4 => format!("{:.1} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        0.0 => "0".into(),
        _ => format!("{value:.3}"),
    }
}

/// A tick's number, without the digits it does not need.
fn tick(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} M", v / 1e6),
        v if v >= 1e3 => format!("{} k", v / 1e3),
        v => format!("{}", (v * 1e6).round() / 1e6),
    }
}

/// Text that means nothing to SVG and HTML but itself.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn open(title: &str, height: f64) -> String {
    let title = escape(title);
    format!(
        "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\
         <style>{STYLE}</style><rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\
         <text class=\"title\" x=\"{LEFT}\" y=\"20\">{title}</text>\n"
    )
}

impl LineChart {
    /// The drawing. Writing to a string does not fail, here and below.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let x = Ruler::over(self.x.scale, points().map(|p| p.0), LEFT, WIDTH - RIGHT);
        let y = Ruler::over(self.y.scale, points().map(|p| p.1), HEIGHT - BOTTOM, TOP);
        let mut svg = open(&self.title, HEIGHT);
        self.draw_grid(&mut svg, &x, &y);
        for (i, series) in self.series.iter().enumerate() {
            series.draw(&mut svg, &x, &y);
            let (column, row) = (i % NAMES_IN_A_ROW, i / NAMES_IN_A_ROW);
            series.draw_name(&mut svg, LEFT + 214.0 * column as f64, 38.0 + 17.0 * row as f64);
        }
        svg + "</svg>\n"
    }

    fn draw_grid(&self, svg: &mut String, x: &Ruler, y: &Ruler) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for value in x.ticks() {
            let (at, text) = (x.place(value), tick(value));
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                bottom + 16.0
            );
        }
        for value in y.ticks() {
            let (at, text) = (y.place(value), tick(value));
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        let (middle, foot) = ((LEFT + right) / 2.0, HEIGHT - 10.0);
        let (x_label, y_label) = (escape(self.x.label), escape(self.y.label));
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">{x_label}</text>\
             <text x=\"{right}\" y=\"20\" text-anchor=\"end\">{y_label}</text>"
        );
    }
}

impl Series {
    fn draw(&self, svg: &mut String, x: &Ruler, y: &Ruler) {
        let (colour, dashed) = (self.colour % COLOURS, if self.dashed { " dashed" } else { "" });
        let path: Vec<String> = (self.points.iter())
            .map(|(px, py)| format!("{:.1},{:.1}", x.place(*px), y.place(*py)))
            .collect();
        let _ = write!(
            svg,
            "<g class=\"c{colour}\"><polyline class=\"line{dashed}\" points=\"{}\"/>",
            path.join(" ")
        );
        for (px, py) in &self.points {
            let (name, at_x, at_y) = (escape(&self.name), x.place(*px), y.place(*py));
            let _ = write!(
                svg,
                "<circle class=\"dot\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"2.5\">\
                 <title>{name}: {}, {}</title></circle>",
                tick(*px),
                figure(*py)
            );
        }
        if let Some((px, py, text)) = &self.mark {
            let (at_x, at_y, text) = (x.place(*px), y.place(*py), escape(text));
            let _ = write!(
                svg,
                "<circle class=\"knee\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"7\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                at_x - 6.0,
                at_y - 10.0
            );
        }
        svg.push_str("</g>\n");
    }

    fn draw_name(&self, svg: &mut String, x: f64, y: f64) {
        let (colour, dashed) = (self.colour % COLOURS, if self.dashed { " dashed" } else { "" });
        let (name, end, text_x, text_y) = (escape(&self.name), x + 26.0, x + 32.0, y + 4.0);
        let _ = writeln!(
            svg,
            "<line class=\"line c{colour}{dashed}\" x1=\"{x}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\"/>\
             <text x=\"{text_x}\" y=\"{text_y}\">{name}</text>"
        );
    }
}

impl BarChart {
    /// The drawing.
    pub fn svg(&self) -> String {
        let rows: usize = self.groups.iter().map(|(_, bars)| bars.len() + 1).sum();
        let (row, left) = (20.0, 240.0);
        let height = 36.0 + row * rows as f64 + 12.0;
        let mut svg = open(&self.title, height);
        let mut at = 36.0;
        for (name, bars) in &self.groups {
            let _ =
                writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.0}\">{}</text>", at + 14.0, escape(name));
            at += row;
            let longest = bars.iter().map(|b| b.2).fold(f64::MIN_POSITIVE, f64::max);
            for (whose, colour, value) in bars {
                let width = (value / longest * (WIDTH - RIGHT - left - 70.0)).max(1.0);
                let _ = writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
                     <rect class=\"bar c{}\" x=\"{left}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"14\"/>\
                     <text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
                    left - 8.0,
                    at + 14.0,
                    escape(whose),
                    colour % COLOURS,
                    at + 3.0,
                    left + width + 6.0,
                    at + 14.0,
                    figure(*value)
                );
                at += row;
            }
        }
        svg + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(x: Scale, y: Scale, points: &[(f64, f64)]) -> LineChart {
        let series = Series {
            name: "a <b>".into(),
            colour: 1,
            dashed: true,
            points: points.to_vec(),
            mark: Some((points[0].0, points[0].1, "here".into())),
        };
        LineChart {
            title: "t & u".into(),
            x: Axis { label: "x", scale: x },
            y: Axis { label: "y", scale: y },
            series: vec![series],
        }
    }

    #[test]
    fn the_points_are_drawn_where_they_belong() {
        let svg =
            chart(Scale::Linear, Scale::Log, &[(0.0, 1.0), (50.0, 10.0), (100.0, 100.0)]).svg();
        // Left bottom, the middle, right top: the second y is as far from the first as the third.
        assert!(svg.contains("points=\"64.0,292.0 384.0,182.0 704.0,72.0\""), "{svg}");
        assert_eq!(svg.matches("<circle class=\"dot\"").count(), 3);
        assert!(svg.contains("<circle class=\"knee\" cx=\"64.0\" cy=\"292.0\""));
        assert!(svg.contains("a &lt;b&gt;: 50, 10.0") && svg.contains("t &amp; u"));
    }

    #[test]
    fn percentiles_have_equal_room_for_each_nine() {
        let points = [(0.0, 1.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0)];
        let svg = chart(Scale::Nines, Scale::Linear, &points).svg();
        assert!(svg.contains("64.0,218.7 277.3,218.7 490.7,145.3 704.0,72.0"), "{svg}");
    }

    #[test]
    fn one_value_alone_is_drawn() {
        let svg = chart(Scale::Log, Scale::Linear, &[(5.0, 0.0)]).svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bars = vec![("a".to_owned(), 0, 4.0), ("b".to_owned(), 1, 1.0)];
        let svg = BarChart { title: "t".into(), groups: vec![("g".into(), bars)] }.svg();
        assert!(svg.contains("width=\"394.0\"") && svg.contains("width=\"98.5\""), "{svg}");
    }
}
