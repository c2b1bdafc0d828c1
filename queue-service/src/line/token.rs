//! The queue token: a place in line, in the hands of its person.
//!
//! `qt_` + base64url(payload) + `.` + base64url(mac). The payload is, in bytes: 4 of the key's
//! name, 8 of the place (big endian), 1 of the length of the queue's id, the id, the user. The
//! mac is HMAC-SHA256 over the payload, whole. The same place always makes the same token under
//! the same key; a token says nothing about time, because what ends a place is known by Redis.
//!
//! The file of secrets is read again every few seconds. All of its lines verify, none else does. A
//! line signs when this replica has known it for so long that the others have read it too
//! ([`RotationConfig::settle`]); so a new first line takes over late, and one that stood further down
//! before takes over at once. A file that cannot be read changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use shared::clock::Clock;

use crate::config::RotationConfig;
use crate::queues::QueueId;

/// What every queue token begins with.
pub const PREFIX: &str = "qt_";
const VOUCHED: &str = "vouched: ";
const MIN_SECRET: usize = 32;
const HEAD: usize = 4 + 8 + 1;
/// A queue's id has at most 64 bytes, a user's at most 255; whole groups of base64, which are three bytes.
const LONGEST_PAYLOAD: usize = (HEAD + 64 + 255).next_multiple_of(3);
const LONGEST_MAC: usize = 33;

/// What a genuine token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceToken {
    pub queue: QueueId,
    pub user: String,
    pub place: u64,
}

/// The secrets of the moment.
pub struct QueueTokens {
    path: PathBuf,
    rotation: RotationConfig,
    clock: Clock,
    secrets: ArcSwap<Secrets>,
}

/// The lines of the file, in its order, and which of them signs.
#[derive(Clone)]
struct Secrets {
    lines: Vec<Secret>,
    signs: usize,
}

#[derive(Clone)]
struct Secret {
    name: [u8; 4],
    key: hmac::Key,
    /// Since when this replica has known it, ms.
    since_ms: i64,
}

impl QueueTokens {
    /// Reads a file with one base64 secret a line. The first signs.
    pub fn load(path: &Path, rotation: RotationConfig, clock: Clock) -> Result<Self, String> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        let secrets =
            Secrets::parse(&text, i64::MIN).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), rotation, clock, secrets: ArcSwap::from_pointee(secrets) })
    }

    /// Reads the file again and again until dropped.
    pub async fn keep_fresh(&self) {
        let mut complaint = None;
        loop {
            tokio::time::sleep(self.rotation.reload()).await;
            let text = tokio::fs::read_to_string(&self.path).await.map_err(|error| error.to_string());
            let error = text.and_then(|text| self.take(&text)).err();
            if let Some(error) = error.as_ref().filter(|_| error != complaint) {
                let path = self.path.display();
                tracing::error!(%path, %error, "QUEUE_TOKEN_KEYS: the secrets stay as they are");
            }
            complaint = error;
        }
    }

    /// From now on the secrets are those of `text`.
    fn take(&self, text: &str) -> Result<(), String> {
        let (now_ms, before) = (self.clock.now().timestamp_millis(), self.secrets.load());
        let settle_ms = i64::try_from(self.rotation.settle().as_millis()).unwrap_or(i64::MAX);
        let next = Secrets::parse(text, now_ms)?.following(&before, now_ms.saturating_sub(settle_ms));
        let (was, is) = (before.names(), next.names());
        if was != is || before.signs != next.signs {
            tracing::info!(verify = ?is, signs = %is[next.signs], before = ?was, "other secrets of queue tokens");
            self.secrets.store(Arc::new(next));
        }
        Ok(())
    }

    /// The token of a place.
    pub fn sign(&self, token: &PlaceToken) -> String {
        self.secrets.load().sign(token)
    }

    /// What shows to every process with the same secrets that `text` comes from one of them. The mac of
    /// a token begins with a name, this one with a word: neither can pass for the other.
    pub fn vouch(&self, text: &str) -> String {
        let secrets = self.secrets.load();
        let mac = hmac::sign(&secrets.lines[secrets.signs].key, format!("{VOUCHED}{text}").as_bytes());
        URL_SAFE_NO_PAD.encode(mac.as_ref())
    }

    /// Whether one of the secrets vouches for `text`.
    pub fn vouches(&self, text: &str, mac: &str) -> bool {
        let Ok(mac) = URL_SAFE_NO_PAD.decode(mac) else { return false };
        let text = format!("{VOUCHED}{text}");
        self.secrets.load().lines.iter().any(|line| hmac::verify(&line.key, text.as_bytes(), &mac).is_ok())
    }

    /// What the token says, when one of the secrets has signed it.
    pub fn verify(&self, token: &str) -> Option<PlaceToken> {
        self.secrets.load().verify(token)
    }

    /// Whether signing its place again would make this token, which was verified, once more.
    pub fn is_up_to_date(&self, token: &str) -> bool {
        let secrets = self.secrets.load();
        named_by(token).is_some_and(|name| name == secrets.lines[secrets.signs].name)
    }
}

impl Secrets {
    /// Every line known since `since_ms`; the first signs.
    fn parse(text: &str, since_ms: i64) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines = lines.map(|line| secret(line, since_ms)).collect::<Result<Vec<_>, _>>()?;
        if lines.is_empty() {
            return Err("holds no secret".to_owned());
        }
        Ok(Self { lines, signs: 0 })
    }

    /// After `before`: the first line signs that was known by `settled_ms`, without one the first.
    fn following(mut self, before: &Self, settled_ms: i64) -> Self {
        for line in &mut self.lines {
            if let Some(known) = before.lines.iter().find(|known| known.name == line.name) {
                line.since_ms = known.since_ms;
            }
        }
        self.signs = self.lines.iter().position(|line| line.since_ms <= settled_ms).unwrap_or(0);
        self
    }

    /// The names of the lines, for the log and to compare; a name gives nothing of a secret away.
    fn names(&self) -> Vec<String> {
        self.lines.iter().map(|line| format!("{:08x}", u32::from_be_bytes(line.name))).collect()
    }

    fn sign(&self, token: &PlaceToken) -> String {
        let Secret { name, key, .. } = &self.lines[self.signs];
        let queue = token.queue.as_str().as_bytes();
        let mut payload = Vec::with_capacity(HEAD + queue.len() + token.user.len());
        payload.extend_from_slice(name);
        payload.extend_from_slice(&token.place.to_be_bytes());
        // A queue's id has at most 64 bytes.
        payload.push(u8::try_from(queue.len()).unwrap_or(u8::MAX));
        payload.extend_from_slice(queue);
        payload.extend_from_slice(token.user.as_bytes());
        let mac = hmac::sign(key, &payload);
        format!("{PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(&payload), URL_SAFE_NO_PAD.encode(mac.as_ref()))
    }

    fn verify(&self, token: &str) -> Option<PlaceToken> {
        let (payload, mac) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let (mut payload_room, mut mac_room) = ([0; LONGEST_PAYLOAD], [0; LONGEST_MAC]);
        let payload = decoded(payload, &mut payload_room)?;
        let mac = decoded(mac, &mut mac_room)?;
        let secret = self.lines.iter().find(|secret| payload.starts_with(&secret.name))?;
        hmac::verify(&secret.key, payload, mac).ok()?;
        named_in(payload)
    }
}

/// The place that a token names, whoever has signed it: for its owner, who wants to check a draw.
pub fn place_in(token: &str) -> Option<u64> {
    let (payload, _) = token.strip_prefix(PREFIX)?.split_once('.')?;
    named_in(&URL_SAFE_NO_PAD.decode(payload).ok()?).map(|named| named.place)
}

/// The name of the secret that a token says has signed it.
fn named_by(token: &str) -> Option<[u8; 4]> {
    let mut room = [0; 6];
    decoded(token.strip_prefix(PREFIX)?.get(..8)?, &mut room)?.first_chunk().copied()
}

/// `None` also for what is longer than any that was ever signed.
fn decoded<'a>(text: &str, room: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, room).ok()?;
    room.get(..length)
}

fn named_in(payload: &[u8]) -> Option<PlaceToken> {
    let (head, names) = payload.split_at_checked(HEAD)?;
    let place = u64::from_be_bytes(head[4..12].try_into().ok()?);
    let (queue, user) = names.split_at_checked(usize::from(head[12]))?;
    Some(PlaceToken {
        queue: QueueId::parse(std::str::from_utf8(queue).ok()?)?,
        user: std::str::from_utf8(user).ok()?.to_owned(),
        place,
    })
}

/// A secret is named by the beginning of its own digest.
fn secret(line: &str, since_ms: i64) -> Result<Secret, String> {
    let secret = STANDARD.decode(line).map_err(|_| "a line is not base64".to_owned())?;
    if secret.len() < MIN_SECRET {
        return Err(format!("a secret has fewer than {MIN_SECRET} bytes"));
    }
    let digest = digest::digest(&digest::SHA256, &secret);
    let mut name = [0; 4];
    name.copy_from_slice(&digest.as_ref()[..4]);
    Ok(Secret { name, key: hmac::Key::new(hmac::HMAC_SHA256, &secret), since_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const NEW: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";

    fn parse(text: &str) -> Secrets {
        Secrets::parse(text, i64::MIN).unwrap()
    }

    fn place() -> PlaceToken {
        PlaceToken { queue: QueueId::parse("main").unwrap(), user: "앤".into(), place: 42 }
    }

    #[test]
    fn a_token_survives_the_rotation_of_its_key() {
        let token = parse(OLD).sign(&place());
        assert!(token.starts_with("qt_"));
        let rotated = parse(&format!("{NEW}\n{OLD}\n"));
        assert_eq!(rotated.verify(&token), Some(place()));
        assert_ne!(rotated.sign(&place()), token);
        assert_eq!(parse(NEW).verify(&token), None);
    }

    #[test]
    fn a_new_first_line_verifies_at_once_and_signs_when_it_has_settled() {
        let (of_old, of_new) = (parse(OLD).sign(&place()), parse(NEW).sign(&place()));
        let both = || Secrets::parse(&format!("{NEW}\n{OLD}"), 1000).unwrap();
        let secrets = both().following(&parse(OLD), 999);
        assert_eq!(secrets.verify(&of_new), Some(place()));
        assert_eq!(secrets.sign(&place()), of_old);
        // Read again: known since before.
        let secrets = Secrets { signs: 1, ..both() }.following(&secrets, 1000);
        assert_eq!(secrets.sign(&place()), of_new);
        assert_eq!(secrets.verify(&of_old), Some(place()));
    }

    #[test]
    fn a_line_that_stood_further_down_signs_at_once_and_a_removed_one_never() {
        let (of_old, of_new) = (parse(OLD).sign(&place()), parse(NEW).sign(&place()));
        let below = parse(&format!("{OLD}\n{NEW}"));
        let moved = Secrets::parse(&format!("{NEW}\n{OLD}"), 1000).unwrap().following(&below, 0);
        assert_eq!(moved.sign(&place()), of_new);
        let replaced = Secrets::parse(NEW, 1000).unwrap().following(&parse(OLD), 0);
        assert_eq!(replaced.sign(&place()), of_new);
        assert_eq!(replaced.verify(&of_old), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_changes_nothing() {
        let rotation = RotationConfig { key_reload_seconds: 1, entry_key_settle_seconds: 0 };
        let secrets = ArcSwap::from_pointee(parse(OLD));
        let tokens = QueueTokens { path: PathBuf::new(), rotation, clock: Clock::system(), secrets };
        let token = tokens.sign(&place());
        for text in ["", "not base64!", &format!("{NEW}\nc2hvcnQ=")] {
            assert!(tokens.take(text).is_err(), "{text}");
            assert_eq!(tokens.sign(&place()), token);
            assert_eq!(tokens.verify(&token), Some(place()));
        }
    }

    #[test]
    fn no_byte_of_a_token_can_be_changed() {
        let tokens = parse(OLD);
        let token = tokens.sign(&place());
        for at in 3..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert_eq!(tokens.verify(&forged), None, "at {at}");
        }
        for junk in ["", "qt_", "qt_.", "qt_AAAA.AAAA", "x", &token[3..]] {
            assert_eq!(tokens.verify(junk), None);
        }
    }

    #[test]
    fn the_longest_names_there_may_be_fit() {
        let place =
            PlaceToken { queue: QueueId::parse(&"q".repeat(64)).unwrap(), user: "u".repeat(255), place: 1 };
        let secrets = parse(OLD);
        assert_eq!(secrets.verify(&secrets.sign(&place)), Some(place));
    }

    #[test]
    fn a_token_is_up_to_date_while_its_secret_signs() {
        let rotation = RotationConfig { key_reload_seconds: 1, entry_key_settle_seconds: 0 };
        let secrets = ArcSwap::from_pointee(parse(&format!("{NEW}\n{OLD}")));
        let tokens = QueueTokens { path: PathBuf::new(), rotation, clock: Clock::system(), secrets };
        let (of_new, of_old) = (tokens.sign(&place()), parse(OLD).sign(&place()));
        assert!(tokens.is_up_to_date(&of_new) && !tokens.is_up_to_date(&of_old));
        assert!(!tokens.is_up_to_date("qt_AAAA") && !tokens.is_up_to_date("AAAAAAAAAAAA"));
    }

    #[test]
    fn weak_secrets_are_refused() {
        for text in ["", "c2hvcnQ=", "not base64!"] {
            assert!(Secrets::parse(text, 0).is_err());
        }
    }
}
