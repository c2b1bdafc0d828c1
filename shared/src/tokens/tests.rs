//! Entry tokens against a key server that changes its mind, hangs and lies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::entry::{self, EntryClaims, EntryVerifier};
use super::keys::SigningKey;
use super::{KeySource, PublicKeys, Untrusted};
use crate::clock::Clock;
use crate::lifecycle::Lifecycle;

/// What is served: status and text; without a status, nothing, for ever.
type Page = Arc<Mutex<(Option<u16>, String)>>;

/// A key server, and a verifier that asks it.
struct Scene {
    clock: Clock,
    page: Page,
    fetches: Arc<AtomicUsize>,
    keys: Arc<PublicKeys>,
    verifier: EntryVerifier,
    _server: JoinSet<()>,
}

pub(super) fn new_key() -> SigningKey {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let body = STANDARD.encode(document.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem(&pem).unwrap()
}

impl Scene {
    async fn of(keys: &[&SigningKey]) -> Self {
        super::install_crypto();
        let (clock, page, fetches) = (Clock::system(), Page::default(), Arc::<AtomicUsize>::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router =
            axum::Router::new().route("/keys", get(serve)).with_state((page.clone(), fetches.clone()));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let keys_of = || {
            Arc::new(PublicKeys::new(
                KeySource::parse(&url),
                reqwest::Client::new(),
                clock.clone(),
                &Lifecycle::new(),
            ))
        };
        let public = keys_of();
        let verifier = EntryVerifier::new(public.clone(), "queue".into(), clock.clone());
        let scene = Self { clock, page, fetches, keys: public, verifier, _server: server };
        scene.publish(keys);
        scene
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.say(Some(200), &json!({ "keys": keys }).to_string());
    }

    fn say(&self, status: Option<u16>, text: &str) {
        *self.page.lock().unwrap() = (status, text.to_owned());
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Good from `from` to `to`, in seconds from now.
    fn token(&self, key: &SigningKey, from: i64, to: i64) -> String {
        let now = self.clock.unix_seconds();
        let claims = EntryClaims {
            iss: "queue".into(),
            aud: entry::AUDIENCE.into(),
            sub: "ann".into(),
            queue: "main".into(),
            jti: "one".into(),
            iat: now,
            nbf: now + from,
            exp: now + to,
        };
        entry::sign(&claims, key).unwrap()
    }

    /// The answer of the verifier with its memory, which must be that of one that remembers nothing.
    async fn verify(&self, token: &str) -> Result<(), Untrusted> {
        let answer = self.verifier.verify(token).await;
        let fresh = EntryVerifier::new(self.keys.clone(), "queue".into(), self.clock.clone());
        assert_eq!(answer, fresh.verify(token).await, "the memory changes the answer");
        answer.map(|claims| assert_eq!(claims.sub, "ann"))
    }
}

async fn serve(State((page, fetches)): State<(Page, Arc<AtomicUsize>)>) -> (StatusCode, String) {
    fetches.fetch_add(1, Ordering::SeqCst);
    let (status, text) = page.lock().unwrap().clone();
    match status {
        Some(status) => (StatusCode::from_u16(status).unwrap(), text),
        None => std::future::pending().await,
    }
}

/// Others of the same payload: another signature, another payload under the same signature, and so on.
fn tampered(token: &str) -> Vec<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let bob = URL_SAFE_NO_PAD.encode(payload.replace("ann", "bob"));
    let mut signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    signature[10] ^= 1;
    let other = URL_SAFE_NO_PAD.encode(&signature);
    let zeros = URL_SAFE_NO_PAD.encode([0; 64]);
    vec![
        format!("{}.{}.{other}", parts[0], parts[1]),
        format!("{}.{}.{zeros}", parts[0], parts[1]),
        format!("{}.{bob}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
    ]
}

#[tokio::test]
async fn no_forgery_profits_from_a_remembered_token() {
    let key = new_key();
    let scene = Scene::of(&[&key]).await;
    let token = scene.token(&key, 0, 600);
    for _ in 0..3 {
        assert_eq!(scene.verify(&token).await, Ok(()));
        for forged in tampered(&token) {
            assert!(scene.verify(&forged).await.is_err(), "{forged}");
        }
    }
    assert!(tampered(&token).iter().all(|forged| *forged != token));
}

#[tokio::test]
async fn times_are_judged_at_each_use() {
    let key = new_key();
    let scene = Scene::of(&[&key]).await;
    let token = scene.token(&key, 60, 600);
    assert_eq!(scene.verify(&token).await, Err(Untrusted::NotYetValid));
    scene.clock.advance(Duration::from_secs(61));
    assert_eq!(scene.verify(&token).await, Ok(()));
    scene.clock.advance(Duration::from_secs(540));
    assert_eq!(scene.verify(&token).await, Err(Untrusted::Expired));
    assert_eq!(scene.verify(&token).await, Err(Untrusted::Expired));
}

#[tokio::test]
async fn a_key_that_goes_takes_its_remembered_tokens_with_it_and_no_other() {
    let (old, new) = (new_key(), new_key());
    let scene = Scene::of(&[&old, &new]).await;
    let (by_old, by_new) = (scene.token(&old, 0, 600), scene.token(&new, 0, 600));
    assert_eq!((scene.verify(&by_old).await, scene.verify(&by_new).await), (Ok(()), Ok(())));
    let kept = scene.keys.at_hand(Some(new.kid())).unwrap();
    scene.publish(&[&new]);
    scene.keys.refresh().await.unwrap();
    assert_eq!(scene.verify(&by_old).await, Err(Untrusted::UnknownKey));
    assert_eq!(scene.verify(&by_new).await, Ok(()));
    assert!(Arc::ptr_eq(&kept, &scene.keys.at_hand(Some(new.kid())).unwrap()), "nothing was remembered");
    // Another key under the old name.
    let mut impostor = new_key().jwk();
    impostor["kid"] = new.kid().into();
    scene.say(Some(200), &json!({ "keys": [impostor] }).to_string());
    scene.keys.refresh().await.unwrap();
    assert_eq!(scene.verify(&by_new).await, Err(Untrusted::BadSignature));
}

#[tokio::test]
async fn an_answer_without_keys_takes_none_away() {
    let key = new_key();
    let scene = Scene::of(&[&key]).await;
    let token = scene.token(&key, 0, 600);
    assert_eq!(scene.verify(&token).await, Ok(()));
    let large = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(2 << 20));
    for (status, text) in [
        (500, "{}"),
        (200, ""),
        (200, "<html>"),
        (200, r#"{"keys":[]}"#),
        (200, r#"{"keys":[{"kty":"AKP","kid":"post-quantum"}]}"#),
        (200, r#"{"keys":{}}"#),
        (200, large.as_str()),
    ] {
        scene.say(Some(status), text);
        assert!(scene.keys.refresh().await.is_err(), "{status} {text:.40}");
        assert_eq!(scene.verify(&token).await, Ok(()));
    }
    // A key of a kind that we do not know does not spoil the others.
    let strange = json!({ "keys": [{ "kty": "AKP", "alg": "ML-DSA-44", "kid": "pq" }, key.jwk()] });
    scene.say(Some(200), &strange.to_string());
    scene.keys.refresh().await.unwrap();
    assert_eq!(scene.verify(&token).await, Ok(()));
}

#[tokio::test]
async fn a_storm_of_unknown_names_is_one_fetch_an_interval_and_delays_no_good_token() {
    let key = new_key();
    let scene = Scene::of(&[&key]).await;
    let (known, fresh) = (scene.token(&key, 0, 600), scene.token(&key, 0, 601));
    assert_eq!(scene.verify(&known).await, Ok(()));
    let strangers: Vec<String> = (0..1000).map(|_| scene.token(&new_key(), 0, 600)).collect();
    for _ in 0..2 {
        scene.clock.advance(Duration::from_secs(5));
        let before = scene.fetches();
        scene.say(None, "");
        let storm = join_all(strangers.iter().map(|token| scene.verifier.verify(token)));
        let good = async {
            while scene.fetches() == before {
                tokio::task::yield_now().await;
            }
            // While the fetch hangs: answered without waiting for it, and what is known at the first look.
            assert!(scene.verifier.verify(&known).now_or_never().unwrap().is_ok());
            let soon = timeout(Duration::from_secs(1), scene.verifier.verify(&fresh)).await;
            assert!(soon.expect("it waits for the fetch").is_ok());
        };
        let (answers, ()) = tokio::join!(storm, good);
        assert!(answers.iter().all(|answer| *answer == Err(Untrusted::UnknownKey)));
        assert_eq!(scene.fetches(), before + 1);
    }
}

#[tokio::test]
async fn without_any_keys_tokens_wait_for_them_and_work_when_they_come() {
    let key = new_key();
    let scene = Scene::of(&[]).await;
    let token = scene.token(&key, 0, 600);
    assert_eq!(scene.verify(&token).await, Err(Untrusted::KeysUnavailable));
    assert!(!scene.keys.is_loaded());
    scene.publish(&[&key]);
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.verify(&token).await, Ok(()));
}
