//! Replicas with files of their own, at one registry in a real Redis.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;

use super::*;

const ROTATION: RotationConfig = RotationConfig { key_reload_seconds: 1, entry_key_settle_seconds: 60 };
/// Nobody listens there.
const NOWHERE: &str = "redis://127.0.0.1:1/";

/// What the replicas of a test share; removed on drop.
struct Place {
    folder: PathBuf,
    redis: Redis,
    registry: String,
    clock: Clock,
}

/// One replica and its folder.
struct Replica {
    folder: PathBuf,
    keys: EntryKeys,
    secrets: QueueTokens,
}

impl Place {
    fn new() -> Self {
        let url = std::env::var("TEST_REDIS_URL").expect("TEST_REDIS_URL is not set: run scripts/test");
        Self::at(&url)
    }

    fn at(url: &str) -> Self {
        shared::tokens::install_crypto();
        let id = format!("entry-keys-{:032x}", rand::random::<u128>());
        let folder = std::env::temp_dir().join(&id);
        let redis = Redis::new(url, 1).unwrap();
        Self { folder, redis, registry: format!("{id}:entry_keys"), clock: Clock::system() }
    }

    /// A replica that has these files.
    fn replica(&self, name: &str, files: &[(&str, &str)]) -> Replica {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (file, pem) in files {
            std::fs::write(folder.join(file), pem).unwrap();
        }
        let secrets = self.folder.join("secrets");
        std::fs::write(&secrets, STANDARD.encode([7; 32])).unwrap();
        let secrets = QueueTokens::load(&secrets, ROTATION, self.clock.clone()).unwrap();
        let (redis, registry, clock) = (self.redis.clone(), self.registry.clone(), self.clock.clone());
        let keys = EntryKeys::load(&folder, ROTATION, redis, registry, clock).unwrap();
        Replica { folder, keys, secrets }
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn delete(&self, kid: Option<&str>) {
        let mut pipeline = redis::pipe();
        match kid {
            Some(kid) => pipeline.hdel(&self.registry, kid),
            None => pipeline.del(&self.registry),
        };
        self.redis.query::<()>(pipeline.ignore()).await.unwrap();
    }

    async fn end(self) {
        self.delete(None).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's folder for such things.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Replica {
    fn add(&self, file: &str, pem: &str) {
        std::fs::write(self.folder.join(file), pem).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder.join(file)).unwrap();
    }

    /// Whether Redis was there.
    async fn round(&self) -> bool {
        self.keys.round(&self.secrets).await
    }

    fn published(&self) -> Vec<String> {
        self.keys.jwks().kids.clone()
    }

    /// Signs a token that lives for ten minutes; the key that it names.
    fn sign(&self) -> String {
        let now = self.keys.clock.unix_seconds();
        let words = || "x".to_owned();
        let (iss, aud, sub, queue, jti) = (words(), words(), words(), words(), words());
        let claims = EntryClaims { iss, aud, sub, queue, jti, iat: now, nbf: now, exp: now + 600 };
        let token = self.keys.sign(&claims).unwrap();
        let header = token.split('.').next().unwrap();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    }
}

/// A new key: its name and its file.
fn new_key() -> (String, String) {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let body = STANDARD.encode(document.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    (SigningKey::from_pem(&pem).unwrap().kid().to_owned(), pem)
}

async fn rounds(replicas: [&Replica; 2]) {
    for replica in replicas {
        assert!(replica.round().await, "Redis is there");
    }
    // What the second has told, the first hears now.
    assert!(replicas[0].round().await, "Redis is there");
}

fn sorted(kids: &[&str]) -> Vec<String> {
    let mut kids: Vec<_> = kids.iter().map(|&kid| kid.to_owned()).collect();
    kids.sort();
    kids
}

#[tokio::test]
async fn a_key_is_published_by_who_lacks_its_file_from_before_it_signs_until_its_last_token_has_ended() {
    let place = Place::new();
    let ((old, old_pem), (new, new_pem)) = (new_key(), new_key());
    let one = place.replica("one", &[("1.pem", &old_pem)]);
    let two = place.replica("two", &[("1.pem", &old_pem)]);
    rounds([&one, &two]).await;
    one.add("2.pem", &new_pem);
    rounds([&one, &two]).await;
    for (passes, signs) in [(0, &old), (60, &old), (3, &new)] {
        place.pass(passes);
        rounds([&one, &two]).await;
        assert_eq!((one.sign(), two.sign()), (signs.clone(), old.clone()), "{passes} s later");
        assert_eq!((one.published(), two.published()), (sorted(&[&old, &new]), sorted(&[&old, &new])));
    }
    rounds([&one, &two]).await;
    one.remove("2.pem");
    rounds([&one, &two]).await;
    assert_eq!(one.sign(), old, "a key without a file signs nothing");
    for (passes, published) in
        [(0, sorted(&[&old, &new])), (600, sorted(&[&old, &new])), (62, sorted(&[&old]))]
    {
        place.pass(passes);
        rounds([&one, &two]).await;
        assert_eq!((one.published(), two.published()), (published.clone(), published), "{passes} s later");
    }
    place.end().await;
}

#[tokio::test]
async fn a_key_that_has_signed_nothing_is_kept_while_any_replica_has_its_file() {
    let place = Place::new();
    let ((old, old_pem), (new, new_pem)) = (new_key(), new_key());
    let one = place.replica("one", &[("1.pem", &old_pem)]);
    let two = place.replica("two", &[("1.pem", &old_pem), ("2.pem", &new_pem)]);
    rounds([&two, &one]).await;
    for _ in 0..5 {
        place.pass(40);
        rounds([&two, &one]).await;
        assert_eq!(one.published(), sorted(&[&old, &new]));
    }
    assert_eq!(two.sign(), new);
    place.end().await;
}

#[tokio::test]
async fn a_registry_that_redis_forgot_is_told_again_and_what_an_operator_deletes_stays_deleted() {
    let place = Place::new();
    let ((old, old_pem), (new, new_pem)) = (new_key(), new_key());
    let one = place.replica("one", &[("1.pem", &old_pem), ("2.pem", &new_pem)]);
    let two = place.replica("two", &[("2.pem", &new_pem)]);
    rounds([&one, &two]).await;
    assert_eq!(one.sign(), old);
    place.pass(63);
    rounds([&one, &two]).await;
    one.remove("1.pem");
    rounds([&one, &two]).await;
    place.delete(None).await;
    rounds([&one, &two]).await;
    assert_eq!((one.published(), two.published()), (sorted(&[&old, &new]), sorted(&[&old, &new])));
    assert_eq!(one.sign(), new, "what had settled has settled");
    place.delete(Some(&old)).await;
    rounds([&one, &two]).await;
    assert_eq!((one.published(), two.published()), (sorted(&[&new]), sorted(&[&new])));
    place.end().await;
}

#[tokio::test]
async fn a_token_beyond_what_the_registry_was_told_calls_for_a_round_and_others_do_not() {
    let place = Place::new();
    let (_, pem) = new_key();
    let one = place.replica("one", &[("1.pem", &pem)]);
    let called = || one.keys.outlived.notified().now_or_never().is_some();
    assert!(one.round().await);
    one.sign();
    assert!(called());
    assert!(one.round().await);
    one.sign();
    assert!(!called());
    place.pass(61);
    one.sign();
    assert!(called());
    // A replica that starts anew knows it from the registry.
    assert!(one.round().await);
    let again = place.replica("one", &[]);
    assert!(again.round().await);
    again.sign();
    assert!(again.keys.outlived.notified().now_or_never().is_none());
    place.end().await;
}

#[tokio::test]
async fn without_redis_the_files_are_followed_and_key_sets_are_not_to_be_kept() {
    let place = Place::at(NOWHERE);
    let ((old, old_pem), (new, new_pem)) = (new_key(), new_key());
    let one = place.replica("one", &[("1.pem", &old_pem)]);
    one.keys.introduce(&one.secrets).await;
    assert_eq!((one.sign(), one.keys.jwks().max_age), (old.clone(), 0));
    one.add("2.pem", &new_pem);
    place.pass(1000);
    assert!(!one.round().await);
    assert_eq!((one.sign(), one.published()), (old.clone(), sorted(&[&old, &new])));
    one.remove("1.pem");
    assert!(!one.round().await);
    assert_eq!((one.sign(), one.published()), (new.clone(), sorted(&[&new])));
}

#[tokio::test]
async fn a_broken_file_takes_nothing_with_it_and_holds_nothing_up() {
    let place = Place::new();
    let ((old, old_pem), (new, new_pem)) = (new_key(), new_key());
    let one = place.replica("one", &[("1.pem", &old_pem), ("2.pem", &new_pem)]);
    assert!(one.round().await);
    place.pass(63);
    one.add("2.pem", "half a ke");
    one.add("3.pem", "no key");
    assert!(one.round().await);
    assert_eq!((one.sign(), one.published()), (new.clone(), sorted(&[&old, &new])));
    one.remove("2.pem");
    assert!(one.round().await);
    assert_eq!(one.sign(), old, "removed while another is broken");
    one.remove("1.pem");
    assert!(one.round().await);
    assert_eq!(one.sign(), old, "without any good file the last stays");
    place.end().await;
}

#[tokio::test]
async fn a_key_that_nobody_vouches_for_is_not_published() {
    let place = Place::new();
    let ((old, old_pem), (planted, planted_pem)) = (new_key(), new_key());
    let one = place.replica("one", &[("1.pem", &old_pem)]);
    let stranger = place.replica("stranger", &[("1.pem", &planted_pem)]);
    let other = place.folder.join("other secrets");
    std::fs::write(&other, STANDARD.encode([8; 32])).unwrap();
    let stranger_secrets = QueueTokens::load(&other, ROTATION, place.clock.clone()).unwrap();
    assert!(one.round().await);
    assert!(stranger.keys.round(&stranger_secrets).await);
    assert!(one.round().await);
    assert_eq!(one.published(), sorted(&[&old]));
    // It is the secret that made the difference.
    assert!(stranger.round().await);
    assert!(one.round().await);
    assert_eq!(one.published(), sorted(&[&old, &planted]));
    place.end().await;
}

/// As a mounted secret is changed: names link into a folder of which the name links to today's.
#[cfg(unix)]
#[tokio::test]
async fn files_may_be_links_that_are_swapped() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let ((old, old_pem), (new, new_pem)) = (new_key(), new_key());
    let folder = place.folder.join("mounted");
    for (version, pem) in [("..1", &old_pem), ("..2", &new_pem)] {
        std::fs::create_dir_all(folder.join(version)).unwrap();
        std::fs::write(folder.join(version).join("a.pem"), pem).unwrap();
    }
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/a.pem", folder.join("a.pem")).unwrap();
    symlink("..data/gone.pem", folder.join("gone.pem")).unwrap();
    let one = place.replica("mounted", &[]);
    assert!(one.round().await);
    assert_eq!(one.sign(), old);
    symlink("..2", folder.join("..tmp")).unwrap();
    std::fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
    assert!(one.round().await);
    assert_eq!(one.sign(), new);
    assert!(one.keys.desk.lock().await.complaint.is_none(), "a link to nowhere is a file that is gone");
    place.end().await;
}
