//! Which flags the services of a world are started with.

use crate::builder::Builder;
use crate::forge::{AUDIENCE, ISSUER};
use crate::keys::{ADMIN_TOKEN, Keys, SERVICE_TOKEN};
use crate::proxy::Proxy;

/// A proxy before `url`, and the URL that leads through it; without one, `url`.
pub(crate) async fn behind_proxy(wanted: bool, url: &str) -> (Option<Proxy>, String) {
    if !wanted {
        return (None, url.to_owned());
    }
    let mut through = reqwest::Url::parse(url).expect("a URL");
    let port = through.port().unwrap_or(if url.starts_with("redis") { 6379 } else { 5432 });
    let proxy = Proxy::to(format!("{}:{port}", through.host_str().unwrap_or_default())).await;
    through.set_host(Some("127.0.0.1")).expect("a host can be set");
    through.set_port(Some(proxy.address().port())).expect("a port can be set");
    (Some(proxy), through.into())
}

pub(crate) fn queue_flags(builder: &Builder, keys: &Keys, redis_url: &str, prefix: &str) -> Vec<String> {
    let mut flags = identity_flags(builder, keys);
    flags.extend(["--redis-url".to_owned(), redis_url.to_owned()]);
    flags.extend(["--redis-key-prefix".to_owned(), prefix.to_owned()]);
    flags.extend(["--entry-signing-keys".to_owned(), keys.entry().display().to_string()]);
    flags.extend(["--queue-token-keys".to_owned(), keys.queue_tokens().display().to_string()]);
    flags.extend(builder.queue_flags.clone());
    flags
}

pub(crate) fn booking_flags(
    builder: &Builder,
    keys: &Keys,
    database_url: &str,
    queue: &str,
    queue_ops: &str,
) -> Vec<String> {
    let mut flags = identity_flags(builder, keys);
    let file = keys.entry_jwks().display().to_string();
    let jwks = if builder.keys_by_file { file } else { format!("{queue}/.well-known/jwks.json") };
    for (flag, value) in [
        ("--database-url", database_url),
        ("--entry-jwks-url", jwks.as_str()),
        ("--queue-ops-url", queue_ops),
        ("--queue-public-url", queue),
        ("--gated", builder.gated),
        ("--release-on", builder.release_on),
    ] {
        flags.extend([flag.to_owned(), value.to_owned()]);
    }
    flags.extend(builder.booking_flags.clone());
    flags
}

/// Who is believed about users, and the secrets.
fn identity_flags(builder: &Builder, keys: &Keys) -> Vec<String> {
    let (key, jwks) = (keys.identity().display().to_string(), keys.identity_jwks().display().to_string());
    let identity = if builder.provider {
        vec!["--user-jwks", &jwks, "--user-issuer", ISSUER, "--user-audience", AUDIENCE]
    } else {
        vec!["--dev-identity-key", &key]
    };
    let secrets = ["--admin-token", ADMIN_TOKEN, "--service-token", SERVICE_TOKEN];
    identity.into_iter().chain(secrets).map(str::to_owned).collect()
}
