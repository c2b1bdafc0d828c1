//! The queue token: a place in line, in the hands of its person.
//!
//! `qt_` + base64url(payload) + `.` + base64url(mac). The payload is, in bytes: 4 of the key's
//! name, 8 of the place (big endian), 1 of the length of the queue's id, the id, the user. The
//! mac is HMAC-SHA256 over the payload, whole. The same place always makes the same token under
//! the same key; a token says nothing about time, because what ends a place is known by Redis.

use std::path::Path;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::queues::QueueId;

/// What every queue token begins with.
pub const PREFIX: &str = "qt_";
const MIN_SECRET: usize = 32;
const HEAD: usize = 4 + 8 + 1;

/// What a genuine token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceToken {
    pub queue: QueueId,
    pub user: String,
    pub place: u64,
}

/// The secrets: the first signs, all verify.
pub struct QueueTokens {
    keys: Vec<([u8; 4], hmac::Key)>,
}

impl QueueTokens {
    /// Reads a file with one base64 secret a line.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = lines.map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err("holds no secret".to_owned());
        }
        Ok(Self { keys })
    }

    /// The token of a place.
    pub fn sign(&self, token: &PlaceToken) -> String {
        let (name, key) = &self.keys[0];
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

    /// What the token says, when one of the secrets has signed it.
    pub fn verify(&self, token: &str) -> Option<PlaceToken> {
        let (payload, mac) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        let (_, key) = self.keys.iter().find(|(name, _)| payload.starts_with(name))?;
        hmac::verify(key, &payload, &mac).ok()?;
        let (head, names) = payload.split_at_checked(HEAD)?;
        let place = u64::from_be_bytes(head[4..12].try_into().ok()?);
        let (queue, user) = names.split_at_checked(usize::from(head[12]))?;
        Some(PlaceToken {
            queue: QueueId::parse(std::str::from_utf8(queue).ok()?)?,
            user: std::str::from_utf8(user).ok()?.to_owned(),
            place,
        })
    }
}

/// A key is named by the beginning of its own digest.
fn key(line: &str) -> Result<([u8; 4], hmac::Key), String> {
    let secret = STANDARD.decode(line).map_err(|_| "a line is not base64".to_owned())?;
    if secret.len() < MIN_SECRET {
        return Err(format!("a secret has fewer than {MIN_SECRET} bytes"));
    }
    let digest = digest::digest(&digest::SHA256, &secret);
    let mut name = [0; 4];
    name.copy_from_slice(&digest.as_ref()[..4]);
    Ok((name, hmac::Key::new(hmac::HMAC_SHA256, &secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const NEW: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";

    fn place() -> PlaceToken {
        PlaceToken { queue: QueueId::parse("main").unwrap(), user: "앤".into(), place: 42 }
    }

    #[test]
    fn a_token_survives_the_rotation_of_its_key() {
        let token = QueueTokens::parse(OLD).unwrap().sign(&place());
        assert!(token.starts_with("qt_"));
        let rotated = QueueTokens::parse(&format!("{NEW}\n{OLD}\n")).unwrap();
        assert_eq!(rotated.verify(&token), Some(place()));
        assert_ne!(rotated.sign(&place()), token);
        assert_eq!(QueueTokens::parse(NEW).unwrap().verify(&token), None);
    }

    #[test]
    fn no_byte_of_a_token_can_be_changed() {
        let tokens = QueueTokens::parse(OLD).unwrap();
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
    fn weak_secrets_are_refused() {
        for text in ["", "c2hvcnQ=", "not base64!"] {
            assert!(QueueTokens::parse(text).is_err());
        }
    }
}
