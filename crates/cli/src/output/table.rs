//! Aligned columns: a header, rows, two blanks between; numbers to the right. The last column is
//! never padded, so that lines do not end in blanks.

pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

struct Column {
    name: &'static str,
    right: bool,
}

impl Table {
    /// Column names; one that begins with `>` is aligned to the right.
    pub fn new<const N: usize>(names: [&'static str; N]) -> Self {
        let column = |name: &'static str| match name.strip_prefix('>') {
            Some(name) => Column { name, right: true },
            None => Column { name, right: false },
        };
        Self { columns: names.into_iter().map(column).collect(), rows: Vec::new() }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    pub fn render(&self) -> String {
        let header: Vec<String> = self.columns.iter().map(|c| c.name.to_uppercase()).collect();
        let lines: Vec<&Vec<String>> = core::iter::once(&header).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| lines.iter().map(|l| cell(l, at).chars().count()).max().unwrap_or(0))
            .collect();
        let render = |line: &&Vec<String>| self.line(line, &widths);
        lines.iter().map(render).collect::<Vec<_>>().join("\n")
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut out = String::new();
        for (at, column) in self.columns.iter().enumerate() {
            let (text, width) = (cell(cells, at), widths[at]);
            if column.right {
                out.push_str(&format!("{text:>width$}  "));
            } else {
                out.push_str(&format!("{text:<width$}  "));
            }
        }
        out.truncate(out.trim_end().len());
        out
    }
}

fn cell(line: &[String], at: usize) -> &str {
    line.get(at).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let mut table = Table::new(["name", ">size", "note"]);
        table.row(["ä".into(), "5 B".into(), String::new()]);
        table.row(["longer".into(), "10 KiB".into(), "x".into()]);
        assert_eq!(table.render(), "NAME      SIZE  NOTE\nä          5 B\nlonger  10 KiB  x");
    }
}
