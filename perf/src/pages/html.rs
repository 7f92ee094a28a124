//! The report as one page that needs nothing besides itself.

use super::chart::escape;
use super::drawings::Drawing;
use super::summary::{Summary, Table, promise};
use std::fmt::Write;

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fff;--text:#1b1f24;--faint:#5d6670;--line:#dcdfe3;--mark:#f5f7f9}\
@media(prefers-color-scheme:dark){:root{--ground:#16191e;--text:#e3e6ea;--faint:#9aa3ad;--line:#343a42;--mark:#1f242b}}\
body{margin:0 auto;max-width:68rem;padding:2rem 1rem 4rem;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,sans-serif}\
h1,h2{line-height:1.2}h2{margin-top:2.5rem}p.note,figcaption{color:var(--faint)}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\
th{background:var(--mark)}th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}\
td.worse{font-weight:600}table.facts th,table.facts td{text-align:left;white-space:normal}\
figure{margin:2rem 0}svg{width:100%;height:auto;border:1px solid var(--line);border-radius:6px}\
pre{overflow-x:auto;background:var(--mark);padding:1rem;border-radius:6px;font-size:13px}";

/// The whole page.
pub fn html(summary: &Summary<'_>, drawings: &[Drawing]) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write(summary, drawings, &mut page);
    page
}

fn write(summary: &Summary<'_>, drawings: &[Drawing], page: &mut String) -> std::fmt::Result {
    let titles: Vec<&str> = summary.plan.contestants.iter().map(|c| c.title.as_str()).collect();
    let title = escape(&titles.join(", "));
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Comparison: {title}</title><style>{STYLE}</style></head>\n<body>\
         <h1>Comparison: {title}</h1>"
    )?;
    write_list(page, &summary.notes(), "")?;
    for table in summary.tables() {
        write_table(page, &table)?;
    }
    writeln!(page, "<h2>Losses and failures</h2>")?;
    write_list(page, &summary.failures(), "None.")?;
    writeln!(page, "<h2>Where the client was the bottleneck (†)</h2>")?;
    write_list(page, &summary.client_bound(), "Nowhere.")?;
    for drawing in drawings {
        let (title, note) = (escape(&drawing.title), escape(&drawing.note));
        writeln!(
            page,
            "<h2>{title}</h2><figure>{}<figcaption>{note}</figcaption></figure>",
            drawing.svg
        )?;
    }
    write_facts(page, summary)?;
    writeln!(page, "<h2>Settings over the defaults</h2>")?;
    write_list(page, &summary.settings(), "None.")?;
    for contestant in &summary.plan.contestants {
        let lines = escape(&contestant.configuration.join("\n"));
        writeln!(page, "<h2>How {} is started</h2><pre>{lines}</pre>", contestant.variant)?;
    }
    let first = summary.results.iter().filter(|r| r.run == 1);
    let commands: Vec<&str> = first.map(|r| r.command.as_str()).collect();
    let commands = escape(&commands.join("\n"));
    writeln!(page, "<h2>The commands of the first run</h2><pre>{commands}</pre></body></html>")
}

fn write_table(page: &mut String, table: &Table<'_>) -> std::fmt::Result {
    let (heading, note) = (table.tier.heading(), table.tier.note());
    write!(
        page,
        "<h2>{heading}</h2><p class=\"note\">{note}</p>\
         <div class=\"scroll\"><table><tr><th>workload</th><th></th>"
    )?;
    for column in &table.columns {
        let (title, promise) = (escape(&column.title), promise(column.variant));
        write!(page, "<th>{title}<br>({promise})</th>")?;
    }
    writeln!(page, "<th>Mainstem is</th></tr>")?;
    for row in &table.rows {
        write!(page, "<tr><td>{}</td><td>{}</td>", escape(&row.workload), escape(&row.title))?;
        for cell in &row.cells {
            write!(page, "<td>{}</td>", escape(cell))?;
        }
        let class = if row.verdict.contains("worse") { " class=\"worse\"" } else { "" };
        writeln!(page, "<td{class}>{}</td></tr>", escape(&row.verdict))?;
    }
    writeln!(page, "</table></div>")
}

fn write_facts(page: &mut String, summary: &Summary<'_>) -> std::fmt::Result {
    let plan = summary.plan;
    writeln!(
        page,
        "<h2>The workloads</h2><div class=\"scroll\"><table class=\"facts\">\
         <tr><th></th><th>client</th><th>filled before</th><th>what it shows</th></tr>"
    )?;
    for workload in &plan.workloads {
        let (name, shows) = (escape(&workload.name), escape(&workload.shows));
        let (source, filled) = (workload.source, summary.filled(workload));
        writeln!(
            page,
            "<tr><td>{name}</td><td>{source}</td><td>{filled}</td><td>{shows}</td></tr>"
        )?;
    }
    writeln!(page, "</table></div><h2>Machine and versions</h2><table class=\"facts\">")?;
    for contestant in &plan.contestants {
        let title = escape(&contestant.name());
        writeln!(page, "<tr><td>{}</td><td>{title}</td></tr>", contestant.variant)?;
    }
    for (what, value) in &plan.environment {
        writeln!(page, "<tr><td>{}</td><td>{}</td></tr>", escape(what), escape(value))?;
    }
    writeln!(page, "</table>")
}

fn write_list(page: &mut String, lines: &[String], none: &str) -> std::fmt::Result {
    if lines.is_empty() {
        return writeln!(page, "<p>{none}</p>");
    }
    let items: String = lines.iter().map(|l| format!("<li>{}</li>", escape(l))).collect();
    writeln!(page, "<ul>{items}</ul>")
}
