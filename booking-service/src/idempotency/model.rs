//! Keys, and what makes two bodies the same.

use serde_json::Value;

/// The most characters of a key.
pub const MAX_KEY: usize = 255;

/// A request that came with a key: the same one again must have the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub user: String,
    /// The path: keys are scoped to user and endpoint.
    pub endpoint: String,
    pub key: String,
    pub fingerprint: Vec<u8>,
}

/// A remembered success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub status: u16,
    /// JSON, to the byte.
    pub body: String,
}

/// Whether a key is 1 to [`MAX_KEY`] visible ASCII characters.
pub fn is_key(text: &str) -> bool {
    (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// SHA-256 of the body's meaning: of its canonical JSON, or of the bytes where it is not JSON. No body
/// means the same as an empty object.
pub fn fingerprint(body: &[u8]) -> Vec<u8> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let canonical = serde_json::from_slice::<Value>(body).map(|value| sorted(value).to_string().into_bytes());
    let bytes = canonical.as_deref().unwrap_or(body);
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

/// The same value with the members of every object in order, whatever order they came in.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(name, v)| (name, sorted(v))).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_meaning_has_the_same_fingerprint() {
        let same = |a: &str, b: &str| fingerprint(a.as_bytes()) == fingerprint(b.as_bytes());
        assert!(same(r#"{"a":1,"b":{"c":[1,2],"d":null}}"#, r#" {"b":{"d":null,"c":[1,2]}, "a":1} "#));
        assert!(!same(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#));
        assert!(!same(r#"{"a":1}"#, r#"{"a":2}"#));
        assert!(!same("{", "{{"));
        assert!(same("", "") && same(" ", "{}"));
    }

    #[test]
    fn keys_are_short_and_visible() {
        assert!(is_key("a") && is_key(&"k".repeat(255)));
        for bad in ["", "a b", "ä", &"k".repeat(256), "tab\t"] {
            assert!(!is_key(bad), "{bad}");
        }
    }
}
