//! The report as Markdown.

use super::drawings::Drawing;
use super::summary::{Summary, Table, promise};
use std::fmt::Write;

/// The whole report. The charts lie beside it.
pub fn markdown(summary: &Summary<'_>, drawings: &[Drawing]) -> String {
    let mut text = String::from("# Comparison\n\n");
    // Writing to a string does not fail.
    let _ = write(summary, drawings, &mut text);
    text
}

fn write(summary: &Summary<'_>, drawings: &[Drawing], text: &mut String) -> std::fmt::Result {
    for note in summary.notes() {
        writeln!(text, "- {note}")?;
    }
    for table in summary.tables() {
        write_table(&table, text)?;
    }
    writeln!(text, "\n## Losses and failures\n")?;
    write_list(text, &summary.failures(), "None.")?;
    writeln!(text, "\n## Where the client was the bottleneck (†)\n")?;
    write_list(text, &summary.client_bound(), "Nowhere.")?;
    for drawing in drawings {
        let Drawing { title, note, .. } = drawing;
        writeln!(text, "\n## {title}\n\n{note}\n\n![{title}]({})", drawing.file_name())?;
    }
    write_workloads(summary, text)?;
    writeln!(text, "\n## Machine and versions\n\n| | |\n| --- | --- |")?;
    for contestant in &summary.plan.contestants {
        writeln!(text, "| {} | {} |", contestant.variant, contestant.name())?;
    }
    for (what, value) in &summary.plan.environment {
        writeln!(text, "| {what} | {value} |")?;
    }
    writeln!(text, "\n## Settings over the defaults\n")?;
    write_list(text, &summary.settings(), "None.")?;
    for contestant in &summary.plan.contestants {
        let lines = contestant.configuration.join("\n");
        writeln!(text, "\n## How {} is started\n\n```\n{lines}\n```", contestant.variant)?;
    }
    writeln!(text, "\n## The commands of the first run\n\n```")?;
    for result in summary.results.iter().filter(|r| r.run == 1) {
        writeln!(text, "{}", result.command)?;
    }
    writeln!(text, "```")
}

fn write_table(table: &Table<'_>, text: &mut String) -> std::fmt::Result {
    writeln!(text, "\n## {}\n\n{}\n", table.tier.heading(), table.tier.note())?;
    let title =
        |c: &&crate::run_directory::Contestant| format!("{} ({})", c.title, promise(c.variant));
    let columns: Vec<String> = table.columns.iter().map(title).collect();
    writeln!(text, "| workload | | {} | Mainstem is |", columns.join(" | "))?;
    writeln!(text, "| --- | --- |{} --- |", " --- |".repeat(columns.len()))?;
    for row in &table.rows {
        let cells = row.cells.join(" | ");
        writeln!(text, "| {} | {} | {cells} | {} |", row.workload, row.title, row.verdict)?;
    }
    Ok(())
}

fn write_workloads(summary: &Summary<'_>, text: &mut String) -> std::fmt::Result {
    writeln!(text, "\n## The workloads\n\n| | client | filled before | what it shows |")?;
    writeln!(text, "| --- | --- | --- | --- |")?;
    for workload in &summary.plan.workloads {
        let (source, filled) = (workload.source, summary.filled(workload));
        writeln!(text, "| {} | {source} | {filled} | {} |", workload.name, workload.shows)?;
    }
    Ok(())
}

fn write_list(text: &mut String, lines: &[String], none: &str) -> std::fmt::Result {
    for line in lines {
        writeln!(text, "- {}", line.replace('\n', " "))?;
    }
    if lines.is_empty() { writeln!(text, "{none}") } else { Ok(()) }
}
