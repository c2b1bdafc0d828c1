//! One HTML page: its style and its pictures are inside, it loads nothing.

use super::Table;

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --faint: #6a737d; --rule: #d8dee4;
  --good: #1a7f37; --bad: #cf222e; --mark: #9a6700;
  --s0: #0969da; --s1: #bf5600; --s2: #1a7f37; --s3: #8250df; --s4: #cf222e; --s5: #57606a; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --faint: #8b949e; --rule: #30363d;
  --good: #3fb950; --bad: #f85149; --mark: #d29922;
  --s0: #58a6ff; --s1: #f0883e; --s2: #3fb950; --s3: #bc8cff; --s4: #f85149; --s5: #8b949e; } }
body { font: 15px/1.5 system-ui, sans-serif; background: var(--paper); color: var(--ink);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--faint); font-weight: 600; }
td.ok { color: var(--good); } td.missed { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; } figure { margin: 1rem 0; } figcaption { color: var(--faint); font-size: .85rem; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .faint { fill: var(--faint); } svg .rule { stroke: var(--rule); }
";

/// A page in the making.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    pub fn new(title: &str) -> Self {
        Self { title: escaped(title), body: String::new() }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.body += &element("h2", text);
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.body += &element("p", text);
    }

    pub fn table(&mut self, table: &Table) {
        self.body += &table.html();
    }

    /// A plot, as [`super::plot`] draws it, and what is to be seen.
    pub fn figure(&mut self, svg: &str, caption: &str) {
        self.body += &["<figure>\n", svg, &element("figcaption", caption), "</figure>\n"].concat();
    }

    /// The whole document.
    pub fn html(&self) -> String {
        let Self { title, body } = self;
        format!(
            "<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>{title}</title>\n\
             <meta name=viewport content=\"width=device-width\"><style>{STYLE}</style></head>\n\
             <body><h1>{title}</h1>\n{body}</body></html>\n"
        )
    }
}

fn element(tag: &str, text: &str) -> String {
    format!("<{tag}>{}</{tag}>\n", escaped(text))
}

/// As text of an element.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
