//! The forms of `REDIS_URL`.
//!
//! | form | selects |
//! |---|---|
//! | `redis://[user:password@]host[:port][/db]` | one server |
//! | `redis+unix:///path` or `unix:///path` | one server, by its socket |
//! | `redis+cluster://[user:password@]host[:port],host[:port],…` | a cluster, by some of its nodes |
//! | `redis+sentinel://[user:password@]host[:port],host[:port],…/master[/db]` | the master of that name, by some of its sentinels |
//!
//! `rediss` in place of `redis` is TLS. `user:password` is for the servers; sentinels that want one too
//! are given `?sentinel_username=…&sentinel_password=…`. Each host of a list is read as a `redis://`
//! URL of its own, so ports, IPv6 and percent signs mean the same in every form.
//!
//! No message repeats any part of a URL: it may hold a password.

use redis::io::tcp::TcpSettings;
use redis::sentinel::SentinelNodeConnectionInfo;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsMode};
use reqwest::Url;

const SENTINEL_PORT: u16 = 26_379;

/// What a URL selects.
#[derive(Clone, Debug)]
pub enum Form {
    Single(ConnectionInfo),
    Sentinel(Watched),
    /// Some of its nodes.
    Cluster(Vec<ConnectionInfo>),
}

/// A master that sentinels know.
#[derive(Clone, Debug)]
pub struct Watched {
    pub sentinels: Vec<ConnectionInfo>,
    pub master: String,
    /// How to connect to the master itself.
    pub node: SentinelNodeConnectionInfo,
}

impl Form {
    /// Reads a URL; what is wrong with it in half a sentence.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
        match scheme {
            "redis+cluster" => cluster(&hosts("redis", rest)?),
            "rediss+cluster" => cluster(&hosts("rediss", rest)?),
            "redis+sentinel" => sentinel(&hosts("redis", rest)?),
            "rediss+sentinel" => sentinel(&hosts("rediss", rest)?),
            _ => Ok(Self::Single(info(url)?)),
        }
    }
}

/// One URL for each host of the list; all else is the same in each.
fn hosts(scheme: &str, rest: &str) -> Result<Vec<Url>, String> {
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, list) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    let one = |host: &str| {
        let url = Url::parse(&format!("{scheme}://{user}{host}{tail}")).ok();
        let url = url.filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        url.ok_or_else(|| "its hosts must be host:port,host:port,…".to_owned())
    };
    list.split(',').map(one).collect()
}

fn cluster(nodes: &[Url]) -> Result<Form, String> {
    if nodes.iter().any(|node| !matches!(node.path(), "" | "/" | "/0")) {
        return Err("a cluster has no database but 0".into());
    }
    Ok(Form::Cluster(nodes.iter().map(|node| info(node.as_str())).collect::<Result<_, _>>()?))
}

fn sentinel(urls: &[Url]) -> Result<Form, String> {
    let first = urls.first().ok_or("it names no sentinel")?;
    let mut path = first.path().trim_matches('/').split('/');
    let master = path.next().unwrap_or_default().to_owned();
    let in_name = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    if master.is_empty() || !master.chars().all(in_name) {
        return Err("after the sentinels it must name the master: …/master".into());
    }
    let db = path.next().unwrap_or("0").to_owned();
    if path.next().is_some() {
        return Err("after the master it can only name a database: …/master/0".into());
    }
    let pairs = || first.query_pairs();
    let value = |wanted: &str| pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned());
    let (user, password) = (value("sentinel_username"), value("sentinel_password"));
    let mut node = first.clone();
    node.set_path(&db);
    node.set_query(None);
    for (name, value) in pairs().filter(|(name, _)| !name.starts_with("sentinel_")) {
        node.query_pairs_mut().append_pair(&name, &value);
    }
    let sentinels = urls.iter().map(|url| {
        let mut url = url.clone();
        url.set_path("");
        url.set_query(None);
        let port = url.port().unwrap_or(SENTINEL_PORT);
        let named = url.set_username(user.as_deref().unwrap_or_default());
        let named = named.and_then(|()| url.set_password(password.as_deref()));
        let named = named.and_then(|()| url.set_port(Some(port)));
        named.map_err(|()| "its sentinels cannot be read".to_owned())?;
        info(url.as_str())
    });
    let sentinels = sentinels.collect::<Result<_, _>>()?;
    Ok(Form::Sentinel(Watched { sentinels, master, node: node_of(&info(node.as_str())?) }))
}

fn node_of(info: &ConnectionInfo) -> SentinelNodeConnectionInfo {
    let node = SentinelNodeConnectionInfo::default()
        .set_redis_connection_info(info.redis_settings().clone())
        .set_tcp_settings(tcp());
    match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => node.set_tls_mode(TlsMode::Insecure),
        ConnectionAddr::TcpTls { .. } => node.set_tls_mode(TlsMode::Secure),
        _ => node,
    }
}

fn info(url: &str) -> Result<ConnectionInfo, String> {
    let info = url.into_connection_info().map_err(|error| error.to_string())?;
    Ok(info.set_tcp_settings(tcp()))
}

/// Small commands must not wait for each other.
pub fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(url: &str) -> Vec<ConnectionInfo> {
        match Form::parse(url) {
            Ok(Form::Cluster(nodes)) => nodes,
            other => panic!("{other:?}"),
        }
    }

    fn sentinel(url: &str) -> Watched {
        match Form::parse(url) {
            Ok(Form::Sentinel(watched)) => watched,
            other => panic!("{other:?}"),
        }
    }

    fn addresses(infos: &[ConnectionInfo]) -> Vec<String> {
        infos.iter().map(|info| info.addr().to_string()).collect()
    }

    #[test]
    fn one_server_is_read_as_ever() {
        for url in
            ["redis://h:1/2", "rediss://:pw@h/", "unix:///run/redis.sock", "redis+unix:///run/redis.sock"]
        {
            assert!(matches!(Form::parse(url), Ok(Form::Single(_))), "{url}");
        }
    }

    #[test]
    fn a_cluster_is_a_list_of_nodes_with_one_credential() {
        let nodes = cluster("redis+cluster://ann:p%40ss@a:7001,b,[::1]:7003/");
        assert_eq!(addresses(&nodes), ["a:7001", "b:6379", "::1:7003"]);
        for node in &nodes {
            assert_eq!(node.redis_settings().username(), Some("ann"));
            assert_eq!(node.redis_settings().password(), Some("p@ss"));
            assert!(node.tcp_settings().nodelay());
        }
        let tls = cluster("rediss+cluster://a,b:2/0");
        assert!(tls.iter().all(|node| matches!(node.addr(), ConnectionAddr::TcpTls { insecure: false, .. })));
    }

    #[test]
    fn a_sentinel_url_names_sentinels_master_and_database() {
        let watched =
            sentinel("redis+sentinel://:pw@a:1,b/main.1/3?sentinel_username=s&sentinel_password=q%26%40");
        assert_eq!(addresses(&watched.sentinels), ["a:1", "b:26379"]);
        assert_eq!(watched.master, "main.1");
        for sentinel in &watched.sentinels {
            assert_eq!(sentinel.redis_settings().username(), Some("s"));
            assert_eq!(sentinel.redis_settings().password(), Some("q&@"));
            assert_eq!(sentinel.redis_settings().db(), 0);
        }
        let shown = format!("{:?}", watched.node);
        assert!(shown.contains("db: 3") && !shown.contains("Secure"), "{shown}");
        let bare = sentinel("rediss+sentinel://:pw@a/m");
        assert_eq!(bare.sentinels[0].redis_settings().password(), None);
        assert!(format!("{:?}", bare.node).contains("Secure"));
    }

    #[test]
    fn a_bad_url_is_refused_without_a_word_of_it() {
        for url in [
            "",
            "nonsense",
            "secret://h",
            "redis+cluster://",
            "redis+cluster://u:secret@",
            "redis+cluster://u:secret@a,,b",
            "redis+cluster://u:secret@a:secret",
            "redis+cluster://u:secret@a,b/1",
            "redis+cluster+sentinel://u:secret@a",
            "redis+sentinel://u:secret@a,b",
            "redis+sentinel://u:secret@a,b/",
            "redis+sentinel://u:secret@a/m/secret",
            "redis+sentinel://u:secret@a/m/0/secret",
            "redis+sentinel://u:secret@a/se%20cret",
            "redis://u:secret@h:99999999/",
        ] {
            let refusal = Form::parse(url).unwrap_err();
            assert!(!refusal.contains("secret") && !refusal.is_empty(), "{url}: {refusal}");
        }
    }
}
