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
        write(&keys.entry().join("1.pem"), &new_pem());
        write(&keys.entry().join("2.pem"), &new_pem());
        write(&keys.identity(), &new_pem());
        write(&keys.identity_jwks(), &json!({ "keys": [keys.identity_key().jwk()] }).to_string());
        write(&keys.queue_tokens(), &format!("{}\n{}\n", new_secret(), new_secret()));
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

    /// The key that signs entry tokens.
    pub fn entry_key(&self) -> SigningKey {
        self.numbered_entry_key(1)
    }

    /// The key that is published, to sign tomorrow or signed yesterday.
    pub fn other_entry_key(&self) -> SigningKey {
        self.numbered_entry_key(2)
    }

    fn numbered_entry_key(&self, number: u8) -> SigningKey {
        let path = self.entry().join(format!("{number}.pem"));
        SigningKey::from_file(&path).expect("an entry key can be read")
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

fn new_secret() -> String {
    let secret = aws_lc_rs::rand::generate::<[u8; 32]>(&SystemRandom::new()).expect("the system is random");
    STANDARD.encode(secret.expose())
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
