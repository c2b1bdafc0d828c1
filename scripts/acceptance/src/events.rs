//! An event stream, read event by event.

use serde_json::Value;

/// One event; a comment is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `status`, `ended`; empty when it has no name.
    pub name: String,
    /// Its data as JSON; null when there is none.
    pub data: Value,
    /// When to come back, in milliseconds, where it says so.
    pub retry: Option<u64>,
}

/// A stream that is listened to until dropped.
pub struct Events {
    answer: reqwest::Response,
    text: String,
}

impl Events {
    pub(crate) fn of(answer: reqwest::Response) -> Self {
        assert_eq!(answer.status(), 200, "the stream was refused");
        Self { answer, text: String::new() }
    }

    /// The next event; `None` at a clean end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (event, read) = (parse(block), self.text.len() - rest.len());
                self.text.drain(..read);
                if event.is_some() {
                    return event;
                }
            }
            let chunk = self.answer.chunk().await.unwrap_or_else(|error| panic!("the stream broke: {error}"));
            self.text.push_str(&String::from_utf8_lossy(&chunk?));
        }
    }

    /// The next status.
    pub async fn status(&mut self) -> Value {
        let event = self.next().await.expect("the stream goes on");
        assert_eq!(event.name, "status", "{event:?}");
        event.data
    }

    /// Reads until a status satisfies `is_it`.
    pub async fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let status = self.status().await;
            if is_it(&status) {
                return status;
            }
        }
    }
}

/// `None` for a block of comments alone.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let lines: Vec<_> = lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    let (name, data) = (field("event").unwrap_or_default(), field("data"));
    let retry = field("retry").and_then(|text| text.parse().ok());
    let data = data.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
    if data.is_none() && retry.is_none() {
        return None;
    }
    Some(Event { name, data: data.unwrap_or_default(), retry })
}
