//! Keys and secrets of one world, in a folder that goes with it; and whatever can be signed with them.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use shared::tokens::keys::SigningKey;

/// Opens `/admin`.
pub const ADMIN_TOKEN: &str = "acceptance-admin-secret";
/// Opens `/internal`.
pub const SERVICE_TOKEN: &str = "acceptance-service-secret";

/// A folder with keys; removed on drop.
pub struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// New keys.
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("acceptance-{}", uuid::Uuid::new_v4()));
        let keys = Self { folder };
        std::fs::create_dir_all(keys.entry()).expect("a folder for keys can be made");
        keys.add_entry_key("1");
        keys.add_entry_key("2");
        write(&keys.identity(), &new_pem());
        write(&keys.identity_jwks(), &json!({ "keys": [keys.identity_key().jwk()] }).to_string());
        let entry_keys = [keys.entry_key().jwk(), keys.other_entry_key().jwk()];
        write(&keys.entry_jwks(), &json!({ "keys": entry_keys }).to_string());
        keys.set_queue_secrets(&[&new_secret(), &new_secret()]);
        keys
    }

    /// The folder itself; nothing else is in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `ENTRY_SIGNING_KEYS`.
    pub fn entry(&self) -> PathBuf {
        self.folder.join("entry")
    }

    /// A file for `ENTRY_JWKS_URL`: the public halves of the entry keys there were at the beginning.
    pub fn entry_jwks(&self) -> PathBuf {
        self.folder.join("entry.json")
    }

    /// `QUEUE_TOKEN_KEYS`.
    pub fn queue_tokens(&self) -> PathBuf {
        self.folder.join("queue-tokens")
    }

    /// `DEV_IDENTITY_KEY`.
    pub fn identity(&self) -> PathBuf {
        self.folder.join("identity.pem")
    }

    /// `USER_JWKS`: the public half of [`Keys::identity`].
    pub fn identity_jwks(&self) -> PathBuf {
        self.folder.join("identity.json")
    }

    /// Signs user tokens.
    pub fn identity_key(&self) -> SigningKey {
        SigningKey::from_file(&self.identity()).expect("the identity key can be read")
    }

    /// The key that signs entry tokens first.
    pub fn entry_key(&self) -> SigningKey {
        self.named_entry_key("1")
    }

    /// The key that is published beside it, and signs when it has settled.
    pub fn other_entry_key(&self) -> SigningKey {
        self.named_entry_key("2")
    }

    fn named_entry_key(&self, name: &str) -> SigningKey {
        SigningKey::from_file(&self.entry_file(name)).expect("an entry key can be read")
    }

    /// Puts a new key beside the others; its `kid`.
    pub fn add_entry_key(&self, name: &str) -> String {
        write(&self.entry_file(name), &new_pem());
        self.named_entry_key(name).kid().to_owned()
    }

    /// Puts something in the place of a key.
    pub fn spoil_entry_key(&self, name: &str) {
        write(&self.entry_file(name), "no key at all");
    }

    /// Removes a key.
    pub fn remove_entry_key(&self, name: &str) {
        std::fs::remove_file(self.entry_file(name)).expect("an entry key can be removed");
    }

    fn entry_file(&self, name: &str) -> PathBuf {
        self.entry().join(format!("{name}.pem"))
    }

    /// The secrets of queue tokens, in base64.
    pub fn queue_secrets(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.queue_tokens()).expect("the secrets can be read");
        text.lines().map(str::to_owned).collect()
    }

    /// From now on the secrets are these.
    pub fn set_queue_secrets(&self, secrets: &[&str]) {
        write(&self.queue_tokens(), &format!("{}\n", secrets.join("\n")));
    }

    /// A key that nobody has heard of.
    pub fn stranger() -> SigningKey {
        SigningKey::from_pem(&new_pem()).expect("a new key can be read")
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's folder for such things.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn new_pem() -> String {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key can be made");
    let body = STANDARD.encode(document.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

/// A secret for queue tokens, in base64.
pub fn new_secret() -> String {
    let secret = aws_lc_rs::rand::generate::<[u8; 32]>(&SystemRandom::new()).expect("the system is random");
    STANDARD.encode(secret.expose())
}

/// At once: nobody sees half of it.
fn write(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, path));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
