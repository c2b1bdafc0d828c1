//! What becomes of a lane and a command, on a server that can be killed and on one that hangs up.

use std::net::TcpListener as StdListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// Ends the server when the test lets go of its end of the pipe, in whatever way.
const KEEPER: &str = r#""$@" >/dev/null 2>&1 & read -r _; kill -9 $! 2>/dev/null"#;

struct Server {
    port: u16,
    keeper: Child,
}

impl Server {
    async fn start(port: u16) -> Self {
        let program = std::env::var("TEST_REDIS_SERVER").expect("TEST_REDIS_SERVER: run scripts/test");
        let port_text = port.to_string();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper", &program, "--bind", "127.0.0.1", "--port", &port_text]);
        keeper.args(["--save", "", "--appendonly", "no"]);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Self { port, keeper: keeper.unwrap() };
        let answers = async {
            while server.command(&["PING"]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), answers).await.expect("the server answers");
        server
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Past the lanes.
    async fn command(&self, words: &[&str]) -> RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

/// Below the ports that the system gives to the near ends of connections.
fn free_port() -> u16 {
    let drawn = std::iter::repeat_with(|| rand::random_range(20_000..32_000));
    drawn.take(100).find(|port| StdListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

fn counting() -> Script {
    Script::without_prelude("return redis.call('INCR', KEYS[1])")
}

async fn count(redis: &Redis) -> Result<i64, StoreError> {
    redis.run_plain(&counting(), &["count"], &[]).await
}

/// Which server the next lane leads to.
async fn run_id(redis: &Redis) -> Option<String> {
    redis.lane(redis.lanes.turn()).await.unwrap().run_id().map(str::to_owned)
}

#[tokio::test]
async fn another_run_of_the_server_is_told_with_its_first_answer() {
    let port = free_port();
    let server = Server::start(port).await;
    let redis = Redis::new(&server.url(), 2).unwrap();
    let first = run_id(&redis).await.expect("a server tells");
    for expected in 1..=4 {
        assert_eq!(count(&redis).await.unwrap(), expected);
        assert_eq!(run_id(&redis).await.as_ref(), Some(&first));
    }
    drop(server);
    assert!(count(&redis).await.is_err());
    let _server = Server::start(port).await;
    let counted = count(&redis).await.unwrap();
    assert_eq!(counted, 1, "it has forgotten, and is put the script whole");
    assert_ne!(run_id(&redis).await, Some(first));
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_let_go_and_nothing_is_done_twice() {
    let server = Server::start(free_port()).await;
    let redis = Redis::new(&server.url(), 1).unwrap();
    assert_eq!(count(&redis).await.unwrap(), 1);
    let lane = redis.lane(0).await.unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let refused = count(&redis).await.unwrap_err();
    assert!(refused.to_string().contains("read only"), "{refused}");
    assert!(!Arc::ptr_eq(&lane, &redis.lane(0).await.unwrap()), "the lane was kept");
    server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    assert_eq!(count(&redis).await.unwrap(), 2);
}

/// Answers everything but scripts; hangs up on those, and counts them. Asked for slots, it has all.
async fn rude(listener: TcpListener, scripts: Arc<AtomicUsize>) {
    let port = listener.local_addr().unwrap().port();
    let slots = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
    let mut talks = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        let (scripts, slots) = (scripts.clone(), slots.clone());
        talks.spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]);
                if text.contains("EVALSHA") {
                    scripts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                for command in text.split('*').skip(1) {
                    let answer = if command.contains("SLOTS") { &slots } else { "+OK\r\n" };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
    }
}

#[tokio::test]
async fn only_what_may_run_twice_is_put_again_when_the_connection_breaks() {
    for scheme in ["redis", "redis+cluster"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}/", listener.local_addr().unwrap());
        let redis = Redis::new(&url, 1).unwrap();
        let scripts = Arc::new(AtomicUsize::new(0));
        let mut server = JoinSet::new();
        server.spawn(rude(listener, scripts.clone()));
        let once = Script { repeatable: false, ..counting() };
        for (script, expected) in [(once, 1), (counting(), 2)] {
            scripts.store(0, Ordering::Relaxed);
            assert!(redis.run_plain::<i64>(&script, &["count"], &[]).await.is_err());
            assert_eq!(scripts.load(Ordering::Relaxed), expected, "{scheme}");
        }
        assert_eq!(run_id(&redis).await, None);
    }
}
