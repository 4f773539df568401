//! Tables without boxes: aligned columns, two spaces apart.
//!
//! Owns: widths and alignment. Never: cuts a cell. Invariant: no line ends in blanks.

use serde_json::Value;

use super::{Column, Kind, field, human};

/// How tables look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TableStyle {
    /// Plain numbers instead of units.
    pub(crate) raw: bool,
    /// Headers in bold.
    pub(crate) colour: bool,
}

pub(super) fn render(columns: &[&Column], rows: &[Value], style: TableStyle) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let cell = |column: &&Column| human(field(row, column.field), column.kind, style);
            columns.iter().map(cell).collect()
        })
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let widest = cells.iter().map(|row| width(&row[index])).max().unwrap_or(0);
            widest.max(width(column.header))
        })
        .collect();
    let mut out = String::new();
    let headers: Vec<String> = columns.iter().map(|column| column.header.to_owned()).collect();
    let head = line(&headers, columns, &widths);
    if style.colour {
        out.push_str("\x1b[1m");
        out.push_str(&head);
        out.push_str("\x1b[0m");
    } else {
        out.push_str(&head);
    }
    out.push('\n');
    for row in &cells {
        out.push_str(&line(row, columns, &widths));
        out.push('\n');
    }
    out
}

fn line(cells: &[String], columns: &[&Column], widths: &[usize]) -> String {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push_str("  ");
        }
        let padding = " ".repeat(widths[index].saturating_sub(width(cell)));
        if columns[index].kind == Kind::Text || columns[index].kind == Kind::Time {
            line.push_str(cell);
            line.push_str(&padding);
        } else {
            line.push_str(&padding);
            line.push_str(cell);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

fn width(text: &str) -> usize {
    text.chars().count()
}
