//! A table: aligned text for the terminal, HTML for the page. The first column is left, the others right.

use super::page::escaped;

/// Head and rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Aligned, without a line end behind it.
    pub fn text(&self) -> String {
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let columns = all().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
                if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let rule = "─".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1));
        let mut lines = vec![line(&self.head), rule];
        lines.extend(self.rows.iter().map(line));
        lines.join("\n")
    }

    /// As an element of the page. A cell that is `ok` or `missed` has that class.
    pub fn html(&self) -> String {
        let cell = |tag: &str, text: &String| {
            let class = if matches!(text.as_str(), "ok" | "missed") {
                format!(" class={text}")
            } else {
                String::new()
            };
            format!("<{tag}{class}>{}</{tag}>", escaped(text))
        };
        let line = |tag: &str, row: &Vec<String>| {
            let cells: String = row.iter().map(|text| cell(tag, text)).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let rows: String = self.rows.iter().map(|row| line("td", row)).collect();
        format!(
            "<div class=wide><table><thead>{}</thead><tbody>\n{rows}</tbody></table></div>\n",
            line("th", &self.head)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["row", "n"]);
        table.row(vec!["a <b>".into(), "1,000".into()]);
        table.row(vec!["ä".into(), "7".into()]);
        assert_eq!(table.text(), "row        n\n────────────\na <b>  1,000\nä          7");
        assert!(table.html().contains("<td>a &lt;b&gt;</td>"));
    }
}
