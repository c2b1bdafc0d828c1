//! What the replicas know of a key together, and which key signs.

use std::collections::BTreeMap;

use shared::tokens::keys::thumbprint;

/// A key that some replica publishes. Times are those of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The public half.
    pub x: String,
    /// When a replica first had its file, ms.
    pub first_ms: i64,
    /// When a replica last had it, ms.
    pub held_ms: i64,
    /// Until when tokens that it has signed may live, s.
    pub last_exp: i64,
    /// By which a replica knows that another one wrote this.
    pub mac: String,
}

/// By `kid`.
pub type Registry = BTreeMap<String, Published>;

impl Published {
    /// From an entry of the registry; none when it is not what its name says.
    pub fn parse(kid: &str, entry: &str) -> Option<(String, Self)> {
        let mut parts = entry.split('|');
        let x = parts.next()?.to_owned();
        let mut number = || parts.next()?.parse().ok();
        let (first_ms, held_ms, last_exp) = (number()?, number()?, number()?);
        let published = Self { first_ms, held_ms, last_exp, mac: parts.next()?.to_owned(), x };
        (thumbprint(&published.x) == kid).then(|| (kid.to_owned(), published))
    }
}

/// Which of the `own` keys, in the order of file names, signs at `now_ms`: the last that has been
/// published for `settle_ms`; without one, the first published.
pub fn signer(own: &[&str], registry: &Registry, now_ms: i64, settle_ms: i64) -> Option<usize> {
    let first_ms = |kid: &str| registry.get(kid).map_or(i64::MAX, |key| key.first_ms);
    let settled = |kid: &&str| first_ms(kid) <= now_ms - settle_ms;
    let oldest = || (0..own.len()).min_by_key(|&at| first_ms(own[at]));
    own.iter().rposition(settled).or_else(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(first: &[(&str, i64)]) -> Registry {
        let published = |first_ms| Published {
            x: String::new(),
            first_ms,
            held_ms: first_ms,
            last_exp: 0,
            mac: String::new(),
        };
        first.iter().map(|&(kid, first_ms)| (kid.to_owned(), published(first_ms))).collect()
    }

    #[test]
    fn the_last_by_name_that_has_settled_signs() {
        let registry = registry(&[("a", 0), ("b", 1000), ("c", 0)]);
        assert_eq!(signer(&["a", "b"], &registry, 60_999, 60_000), Some(0));
        assert_eq!(signer(&["a", "b"], &registry, 61_000, 60_000), Some(1));
        // Whatever was published and has no file here does not sign.
        assert_eq!(signer(&["a"], &registry, 99_000, 60_000), Some(0));
    }

    #[test]
    fn when_none_has_settled_the_first_published_signs() {
        let known = registry(&[("a", 900), ("b", 800)]);
        assert_eq!(signer(&["a", "b"], &known, 1000, 60_000), Some(1));
        assert_eq!(signer(&["new", "a"], &known, 1000, 60_000), Some(1));
        assert_eq!(signer(&["a", "b"], &registry(&[]), 0, 0), Some(0), "no Redis: the first by name");
        assert_eq!(signer(&["a", "b"], &registry(&[("a", 5), ("b", 5)]), 10, 60), Some(0));
        assert_eq!(signer(&[], &known, 1000, 0), None);
    }

    #[test]
    fn an_entry_under_another_name_is_not_believed() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let kid = thumbprint(x);
        let good = format!("{x}|1|2|3|m");
        let (_, published) = Published::parse(&kid, &good).unwrap();
        assert_eq!(
            published,
            Published { x: x.to_owned(), first_ms: 1, held_ms: 2, last_exp: 3, mac: "m".into() }
        );
        for (kid, entry) in [("other", good.as_str()), (&kid, x), (&kid, ""), (&kid, "AAAA|1|2|3|m")] {
            assert_eq!(Published::parse(kid, entry), None, "{kid} {entry}");
        }
    }
}
