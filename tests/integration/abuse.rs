//! Clients that mean harm: each is refused or closed in bounded time, on every transport, while others are served and the
//! server's memory stays within bounds.

pub(crate) mod documents;
pub(crate) mod sockets;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, task::JoinHandle};

use crate::support::{
    Mode, SOON, Server, Stores, User, World, both_modes, client_message_id, eventually,
    raw::{JSON, Raw, Reply, post, text},
};

both_modes!(hostile_requests_end, answers_carry_so_much_text);

/// A debug build, with what its allocator keeps; without bounds each of these tests would take gigabytes.
const MEMORY: usize = 400 * 1024;

/// A server under attack, and somebody who goes on using it.
struct Site {
    server: Server,
    user: User,
    channel: String,
    answered: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    /// Ends with what went wrong.
    using: JoinHandle<Option<Value>>,
}

impl Site {
    async fn open(mode: Mode) -> Self {
        let settings = [
            ("HEADER_TIMEOUT", "1"),
            ("BODY_TIMEOUT", "1"),
            ("INIT_TIMEOUT", "1"),
            ("WRITE_TIMEOUT", "1"),
            ("MAX_BODIES_BYTES", "20000000"),
            ("PING_INTERVAL", "2"),
        ];
        let server = Server::start_with(&Stores::new(mode).await, &settings).await;
        let world = World::on(&server).await;
        let (answered, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let using = {
            let (user, channel) = (world.owner.clone(), world.general.clone());
            let (answered, is_over) = (Arc::clone(&answered), Arc::clone(&is_over));
            tokio::spawn(async move {
                let document = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { author { id } } } }";
                while !is_over.load(Ordering::Relaxed) {
                    let id = client_message_id();
                    let input = json!({ "channelId": channel, "clientMessageId": id, "text": "undisturbed" });
                    let answer = user.query(document, json!({ "input": input })).await;
                    match answer.errors.into_iter().next() {
                        None => answered.fetch_add(1, Ordering::Relaxed),
                        // On a machine that is busy with other things stores may take longer than they are given.
                        Some(error) if error["extensions"]["retryable"] == true => 0,
                        error => return error,
                    };
                }
                None
            })
        };
        let (user, channel) = (world.owner.clone(), world.channel(&[]).await);
        Self { server, user, channel, answered, is_over, using }
    }

    /// Waits until others have been served from now on.
    async fn others_are_served(&self, meanwhile: &str) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually(&format!("others are served: {meanwhile}"), SOON, || async {
            let is_answered = self.answered.load(Ordering::Relaxed) > before;
            assert!(is_answered || !self.using.is_finished(), "an honest client failed: {meanwhile}");
            is_answered.then_some(())
        })
        .await;
    }

    async fn close(self) {
        self.is_over.store(true, Ordering::Relaxed);
        assert_eq!(self.using.await.unwrap(), None);
        let peak = self.server.peak_memory();
        assert!(peak < MEMORY, "the server took {peak} kB");
    }

    fn authorization(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.user.token().unwrap())
    }
}

/// `count` texts made of their numbers.
fn many(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, number| {
        all.push_str(&text(number));
        all
    })
}

/// The first error code in a text.
fn code(reply: &Reply) -> &str {
    let after = reply.text.split_once(r#""code":""#).map_or("none", |(_, rest)| rest);
    after.split('"').next().unwrap()
}

async fn get(site: &Site, document: &str) -> Reply {
    let address = url::Url::parse_with_params("http://x/graphql", [("query", document)]).unwrap();
    let head = format!(
        "GET /graphql?{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n",
        address.query().unwrap(),
        site.authorization()
    );
    Raw::exchange(&site.server, head.into_bytes()).await
}

fn subscribe(id: &str, document: &str) -> Vec<u8> {
    text(&json!({ "type": "subscribe", "id": id, "payload": { "query": document } }).to_string())
}

#[allow(clippy::too_many_lines)] // a table
async fn hostile_requests_end(mode: Mode) {
    let site = Site::open(mode).await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let body = |query: &str, variables: &str| {
        format!(r#"{{"query":"{query}","variables":{variables}}}"#).into_bytes()
    };
    let with = |headers: &str, body: &[u8]| post(&format!("{}{headers}", site.authorization()), body);
    let json_with = |body: &[u8]| with(JSON, body);
    let large = 50 * 1024 * 1024;
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    let chunked = format!(
        "POST /graphql HTTP/1.1\r\nhost: x\r\n{JSON}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(50)
    );
    let head = |headers: &str| {
        format!("GET /graphql?query={{serverInfo{{version}}}} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")
            .into_bytes()
    };
    let operation = r#"{"query":"{ serverInfo { version } }"}"#;
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("50 MB with their length", json_with(&vec![b' '; large]), &[413]),
        ("50 MB in chunks", chunked.into_bytes(), &[413]),
        (
            "a length without a body",
            format!("POST /graphql HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 900000\r\n\r\n{{").into(),
            &[408],
        ),
        (
            "an absurd length",
            format!(
                "POST /graphql HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 99999999999999999999\r\n\r\n"
            )
            .into(),
            &[400],
        ),
        (
            "two lengths",
            format!(
                "POST /graphql HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 1\r\ncontent-length: 2\r\n\r\n"
            )
            .into(),
            &[400],
        ),
        ("a deep body", json_with(nested(100_000).as_bytes()), &[400]),
        ("a deep query", json_with(format!(r#"{{"query":{}}}"#, nested(100_000)).as_bytes()), &[400]),
        (
            "deep variables",
            json_with(&body("{ viewer { email } }", &format!(r#"{{"a":{}}}"#, nested(100_000)))),
            &[400],
        ),
        (
            "deep extensions",
            json_with(
                format!(r#"{{"query":"{{ viewer {{ email }} }}","extensions":{{"a":{}}}}}"#, nested(100_000))
                    .as_bytes(),
            ),
            &[400],
        ),
        (
            "deep unknown members",
            json_with(format!(r#"{{"query":"{{ viewer","other":{}}}"#, nested(100_000)).as_bytes()),
            &[400],
        ),
        (
            "100,000 values",
            json_with(&body(
                "query($v: JSON) { viewer { email } }",
                &format!(r#"{{"v":[{}0]}}"#, "0,".repeat(100_000)),
            )),
            &[400],
        ),
        (
            "10,000 variables",
            json_with(&body(
                "{ viewer { email } }",
                &format!("{{{}\"v\":1}}", many(20_000, |n| format!("\"v{n}\":1,"))),
            )),
            &[400],
        ),
        (
            "a huge number",
            json_with(&body("{ viewer { email } }", &format!(r#"{{"v":{}}}"#, "9".repeat(900_000)))),
            &[400],
        ),
        (
            "a huge name of an operation",
            json_with(
                format!(
                    r#"{{"query":"{{ viewer {{ email }} }}","operationName":"{}"}}"#,
                    "a".repeat(900_000)
                )
                .as_bytes(),
            ),
            &[400],
        ),
        ("not UTF-8", json_with(b"{\"query\":\"{ viewer { email } } # \xff\xfe\"}"), &[400]),
        ("half a surrogate", json_with(br#"{"query":"{ viewer { email } } # \ud800"}"#), &[400]),
        ("null bytes", json_with(&[0; 1_000]), &[400]),
        (
            "a batch",
            json_with(format!("[{}{operation}]", format!("{operation},").repeat(1_000)).as_bytes()),
            &[400],
        ),
        (
            "a compressed body",
            with(&format!("{JSON}content-encoding: gzip\r\n"), &[0x1f, 0x8b, 8, 0]),
            &[415],
        ),
        ("a header of 200 kB", head(&format!("x: {}\r\n", "a".repeat(200_000))), &[431]),
        ("10,000 headers", head(&"x: y\r\n".repeat(10_000)), &[431]),
        (
            "an address of 100 kB",
            format!("GET /graphql?query={} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000)).into(),
            &[414],
        ),
        (
            "a token of 100 kB",
            head(&format!("connection: close\r\nauthorization: Bearer {}\r\n", "a".repeat(100_000))),
            &[401],
        ),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello".to_vec(), &[400]),
        ("another protocol's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[]),
    ];
    for (name, request, statuses) in cases {
        let reply = Raw::exchange(&site.server, request).await;
        let shown: String = reply.text.chars().take(500).collect();
        // Where none is expected the connection ends without a word.
        let is_expected = reply.status.map_or(statuses.is_empty(), |status| statuses.contains(&status));
        assert!(is_expected, "{name}: {shown}");
        site.others_are_served(name).await;
    }
    // All at once, and none is read before all are said.
    let pipelined = [head("").repeat(200), head("connection: close\r\n")].concat();
    let reply = Raw::exchange(&site.server, pipelined).await;
    assert_eq!(reply.text.matches("HTTP/1.1 200 OK").count(), 201);
    let connections = join_all((0..300).map(|_| Raw::open(&site.server))).await;
    site.others_are_served("300 connections that say nothing").await;
    let ended = connections.into_iter().map(async |mut connection| {
        // Whatever it says: it says something.
        tokio::time::timeout(SOON, connection.0.read(&mut [0; 1024])).await.is_ok()
    });
    assert_eq!(join_all(ended).await, [true; 300]);
    site.close().await;
}

/// A hundred aliases for a hundred long messages would be 800 MB.
async fn answers_carry_so_much_text(mode: Mode) {
    let site = Site::open(mode).await;
    let long = "\u{1f600}".repeat(20_000);
    for _ in 0..10 {
        join_all((0..10).map(|_| site.user.send(&site.channel, &long))).await;
    }
    let ask = async |selection: &str| {
        let document = format!("query($id: ID!) {{ channel(id: $id) {{ {selection} }} }}");
        site.user.query(&document, json!({ "id": site.channel })).await
    };
    let data = ask("messages(last: 100) { nodes { text } }").await.ok();
    let nodes = data["channel"]["messages"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().filter(|node| node["text"] == long).count() > 90);
    let texts = many(95, |n| format!("a{n}: text "));
    assert_eq!(ask(&format!("messages(last: 100) {{ nodes {{ {texts} }} }}")).await.code(), "TOO_COSTLY");
    let pages = many(95, |n| format!("a{n}: messages(last: 100) {{ nodes {{ id }} }} "));
    assert_eq!(ask(&pages).await.code(), "TOO_COSTLY");
    site.close().await;
}
