//! Tables: aligned and cut to the width on a terminal, tabs in a pipe.

use console::{Alignment, Style, measure_text_width, pad_str};
use serde_json::Value;

use super::{Output, shown, style_of};
use crate::session::short;

const GAP: &str = "  ";
/// What a column keeps when the others need room.
const NARROWEST: usize = 9;

/// One value in a table.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    /// The name of a value, or a title.
    Name(String),
    /// RFC 3339.
    Time(String),
    /// A state, in its colour.
    State(String),
    /// To the right.
    Number(String),
    /// A long id, of which people need the end.
    Id(String),
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn name(text: impl Into<String>) -> Self {
        Self::Name(text.into())
    }

    /// A value of a document.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Number(number) => Self::Number(number.to_string()),
            _ => Self::Text(shown(value)),
        }
    }

    /// A time of a document.
    pub(crate) fn time(value: &Value) -> Self {
        Self::Time(value.as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn state(value: &Value) -> Self {
        Self::State(shown(value))
    }

    fn plain(&self, output: &Output) -> String {
        match self {
            Self::Time(text) if text.is_empty() => String::new(),
            Self::Time(text) => output.time(text),
            Self::Id(id) if output.is_terminal => short(id),
            Self::Text(text) | Self::Name(text) | Self::State(text) | Self::Number(text) | Self::Id(text) => {
                text.clone()
            }
        }
    }

    fn style(&self) -> Style {
        match self {
            Self::State(state) => style_of(state),
            Self::Name(_) => Style::new().bold(),
            Self::Text(_) | Self::Time(_) | Self::Number(_) | Self::Id(_) => Style::new(),
        }
    }
}

/// Rows, with or without titles.
pub(crate) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn without_titles() -> Self {
        Self::new(&[])
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its text for this reader.
    pub(crate) fn render(&self, output: &Output) -> String {
        if output.is_terminal {
            let width = console::Term::stdout().size().1;
            return self.aligned(output, usize::from(width));
        }
        let line = |row: &Vec<Cell>| {
            let cells: Vec<_> = row.iter().map(|cell| cell.plain(output).replace(['\t', '\n'], " ")).collect();
            cells.join("\t") + "\n"
        };
        self.rows.iter().map(line).collect()
    }

    fn aligned(&self, output: &Output, width: usize) -> String {
        let titles = (!self.titles.is_empty() && !self.rows.is_empty())
            .then(|| self.titles.iter().map(|title| Cell::name(*title)).collect::<Vec<_>>());
        let rows: Vec<&Vec<Cell>> = titles.iter().chain(&self.rows).collect();
        let plain: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| cell.plain(output).replace('\n', "⏎")).collect()).collect();
        let widths = fitting(&plain, width);
        let mut text = String::new();
        for (row, plain) in rows.iter().zip(&plain) {
            let mut line = String::new();
            for ((cell, plain), width) in row.iter().zip(plain).zip(&widths) {
                let alignment = if matches!(cell, Cell::Number(_)) { Alignment::Right } else { Alignment::Left };
                let padded = pad_str(plain, *width, alignment, Some("…")).into_owned();
                line += &format!("{}{GAP}", cell.style().apply_to(padded));
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// How wide each column is: as its widest value, unless all together are wider than the terminal. Then the widest gives,
/// and where that is not enough, the last columns are left out.
fn fitting(rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widest =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell)).max();
    let mut widths: Vec<usize> =
        (0..columns).map(|column| widest(column).unwrap_or_default().min(width.max(NARROWEST))).collect();
    loop {
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let is_over = widths.iter().sum::<usize>() + gaps > width;
        let count = widths.len();
        match widths.iter_mut().max() {
            Some(widest) if is_over && *widest > NARROWEST => *widest -= 1,
            Some(_) if is_over && count > 2 => _ = widths.pop(),
            _ => return widths,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn the_widest_column_gives_when_the_terminal_is_narrow() {
        let rows = vec![vec!["shop".to_owned(), "x".repeat(100), "12 d ago".to_owned()]];
        assert_eq!(fitting(&rows, 200), [4, 100, 8]);
        assert_eq!(fitting(&rows, 80), [4, 64, 8]);
        assert_eq!(fitting(&rows, 10), [4, 9]);
    }
}
