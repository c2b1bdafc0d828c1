//! Ed25519 private keys from PKCS#8 PEM files, and their public half as JWKs.
//!
//! The files may change while the process runs ([`SigningKeys::read_again`]): links are followed
//! anew each time, a file that is gone takes its key with it, and a file that cannot be read takes
//! nothing with it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

/// One key pair. Its `kid` is the RFC 7638 thumbprint of the public half.
pub struct SigningKey {
    kid: String,
    x: String,
    encoding: EncodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        if !pem.contains("-----BEGIN PRIVATE KEY-----") {
            return Err("is not a PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`)".to_owned());
        }
        let der = STANDARD.decode(body).map_err(|_| "is not a PEM: its base64 is broken".to_owned())?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map_err(|_| "does not hold an Ed25519 key".to_owned())?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Ok(Self { kid: thumbprint(&x), x, encoding: EncodingKey::from_ed_der(&der) })
    }

    /// Reads a PEM file.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let pem = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::from_pem(&pem).map_err(|error| format!("{} {error}", path.display()))
    }

    /// The key's name in headers and key sets.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half, base64url.
    pub fn x(&self) -> &str {
        &self.x
    }

    /// The public half, as a JWK.
    pub fn jwk(&self) -> Value {
        jwk(&self.x)
    }

    /// Signs `claims` as a JWT of the type `typ`.
    pub fn sign<C: serde::Serialize>(&self, typ: &str, claims: &C) -> Result<String, String> {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(|error| error.to_string())
    }
}

/// The JWK of a public half.
pub fn jwk(x: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": thumbprint(x), "alg": "EdDSA", "use": "sig" })
}

/// The RFC 7638 thumbprint of a public half.
pub fn thumbprint(x: &str) -> String {
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.as_ref())
}

/// Several keys, each from a file of its own, in the order of file names.
#[derive(Clone, Debug, Default)]
pub struct SigningKeys {
    files: Vec<(PathBuf, Arc<SigningKey>)>,
}

impl SigningKeys {
    /// Reads one PEM file, or every `*.pem` of a directory.
    pub fn load(path: &Path) -> Result<Self, String> {
        match Self::default().read_again(path) {
            (keys, None) => Ok(keys),
            (_, Some(complaint)) => Err(complaint),
        }
    }

    /// What is there now, and the first thing that is wrong with it. The key of a file that was
    /// good before and is broken now stays; so do all when nothing is left to sign with.
    pub fn read_again(&self, path: &Path) -> (Self, Option<String>) {
        let listed = match listed(path) {
            Ok(listed) => listed,
            Err(complaint) => return (self.clone(), Some(complaint)),
        };
        let (mut files, mut complaint) = (Vec::new(), None);
        for file in listed {
            let key = match std::fs::read_to_string(&file) {
                // Removed since it was listed, or a link to nowhere.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => Err(format!("{}: {error}", file.display())),
                Ok(pem) => SigningKey::from_pem(&pem).map_err(|error| format!("{} {error}", file.display())),
            };
            match key {
                Ok(key) => files.push((file, Arc::new(key))),
                Err(error) => {
                    complaint.get_or_insert(error);
                    files.extend(self.files.iter().find(|(known, _)| *known == file).cloned());
                }
            }
        }
        if files.is_empty() {
            let nothing = || format!("{} holds no *.pem file", path.display());
            return (self.clone(), Some(complaint.unwrap_or_else(nothing)));
        }
        (Self { files }, complaint)
    }

    /// The keys, in the order of file names.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<SigningKey>> {
        self.files.iter().map(|(_, key)| key)
    }
}

fn listed(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", path.display());
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "pem") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        // RFC 8037, appendix A.3.
        assert_eq!(
            thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn what_is_not_an_ed25519_pem_is_refused() {
        for pem in ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
            assert!(SigningKey::from_pem(pem).is_err(), "{pem}");
        }
    }
}
