//! Clients that mean harm: each is refused or closed in bounded time, on every transport, while others are served and the
//! server's memory stays within bounds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use crate::support::{
    Mode, SOON, Server, Stores, User, World, both_modes, client_message_id, eventually,
    raw::{Heard, JSON, Raw, RawSocket, Reply, frame, post, text},
};

both_modes!(
    hostile_documents_are_refused_on_every_transport,
    hostile_requests_end,
    slow_peers_are_given_up,
    hostile_sockets_end,
    answers_carry_so_much_text,
);

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

/// A hostile document: a selection on `Message`, and what stands around the operation.
struct Document {
    name: &'static str,
    code: &'static str,
    variables: String,
    selection: String,
    rest: String,
}

impl Document {
    fn text(&self, is_subscription: bool) -> String {
        let Self { variables, selection, rest, .. } = self;
        if is_subscription {
            format!(
                "subscription Q{variables} {{ threadEvents(rootId: \"x\") {{ event {{ ... on MessageCreated {{ message {{ {selection} }} }} }} }} }} {rest}"
            )
        } else {
            format!("query Q{variables} {{ message(id: \"x\") {{ {selection} }} }} {rest}")
        }
    }
}

/// `count` texts made of their numbers.
fn many(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, number| {
        all.push_str(&text(number));
        all
    })
}

fn documents() -> Vec<Document> {
    let of = |name, code, variables: String, selection: String, rest: String| Document {
        name,
        code,
        variables,
        selection,
        rest,
    };
    let chain = |inner: &str| {
        let links = many(30, |n| {
            format!(" fragment f{n} on Message {{ {} }}", inner.replace('%', &format!("f{}", n + 1)))
        });
        format!("{links} fragment f30 on Message {{ id }}")
    };
    let selected = |name, code, selection: String| of(name, code, String::new(), selection, String::new());
    let deep = |depth: usize| format!("{}id{}", "replyTo{".repeat(depth), "}".repeat(depth));
    vec![
        of("chained fragments", "TOO_COSTLY", String::new(), "...f0".into(), chain("...% ...%")),
        of("chained fragments with fields", "TOO_COSTLY", String::new(), "...f0".into(), chain("replyTo { ...% } threadRoot { ...% }")),
        of("a cycle", "BAD_REQUEST", String::new(), "...a".into(), "fragment a on Message { replyTo { ...b } } fragment b on Message { ...a }".into()),
        of("an unused bomb", "BAD_REQUEST", String::new(), "id".into(), chain("...% ...%")),
        selected("10,000 aliases", "TOO_COSTLY", many(10_000, |n| format!("a{n}:id "))),
        selected("3,000 aliases", "TOO_COSTLY", many(3_000, |n| format!("a{n}:id "))),
        selected("9,000 fields", "TOO_COSTLY", "id ".repeat(9_000)),
        selected("nested 100,000 deep", "TOO_COSTLY", deep(100_000)),
        selected("nested 5,000 deep", "TOO_COSTLY", deep(5_000)),
        selected("nested 50 deep", "TOO_COSTLY", deep(50)),
        selected("never closed", "TOO_COSTLY", "replyTo{".repeat(5_000)),
        selected("a deep list", "TOO_COSTLY", format!("reactions(emoji: {}) {{ nodes {{ emoji }} }}", "[".repeat(10_000))),
        selected("a deep object", "TOO_COSTLY", format!("reactions(emoji: {}) {{ nodes {{ emoji }} }}", "{a:".repeat(10_000))),
        of("a deep type", "TOO_COSTLY", format!("($v: {}Int{})", "[".repeat(10_000), "]".repeat(10_000)), "id".into(), String::new()),
        of("3,000 variables", "TOO_COSTLY", format!("({})", many(3_000, |n| format!("$v{n}:Int "))), "id".into(), String::new()),
        of("3,000 directives", "TOO_COSTLY", "@a ".repeat(3_000), "id".into(), String::new()),
        selected("3,000 directives on a field", "TOO_COSTLY", format!("id {}", "@skip(if:false)".repeat(1_500))),
        selected("3,000 arguments", "TOO_COSTLY", format!("reactions({}) {{ nodes {{ emoji }} }}", many(3_000, |n| format!("a{n}:1 ")))),
        of("300 fragments", "TOO_COSTLY", String::new(), many(300, |n| format!("...g{n} ")), many(300, |n| format!("fragment g{n} on Message {{ id }} "))),
        selected("pages of pages", "TOO_COSTLY", "channel { members(first: 100) { nodes { channel { members(first: 100) { nodes { channel { id name topic type } } } } } } }".into()),
        selected("a query for each of 100", "TOO_COSTLY", "channel { members(first: 100) { nodes { channel { messages(last: 1) { nodes { author { id } replyTo { author { id } } } } } } } }".into()),
        selected("a huge number", "BAD_REQUEST", format!("reactions(first: {}) {{ nodes {{ emoji }} }}", "9".repeat(60_000))),
        selected("a huge exponent", "BAD_REQUEST", "reactions(first: 1e999999999) { nodes { emoji } }".into()),
        selected("an endless string", "BAD_REQUEST", format!("reactions(emoji: \"{}", "a".repeat(50_000))),
        selected("a null byte", "BAD_REQUEST", "id \0".into()),
        selected("no fragment of that name", "BAD_REQUEST", "...nowhere".into()),
    ]
}

async fn hostile_documents_are_refused_on_every_transport(mode: Mode) {
    let site = Site::open(mode).await;
    for document in documents() {
        let name = document.name;
        for (transport, accept, is_subscription) in [
            ("POST", "application/graphql-response+json", false),
            ("SSE", "text/event-stream", true),
            ("SSE with a query", "text/event-stream", false),
            ("multipart", "multipart/mixed;subscriptionSpec=1.0", true),
        ] {
            let headers = format!("{JSON}{}accept: {accept}\r\n", site.authorization());
            let body = json!({ "query": document.text(is_subscription) }).to_string();
            let reply = Raw::exchange(&site.server, post(&headers, body.as_bytes())).await;
            assert_eq!(code(&reply), document.code, "{name} by {transport}: {reply:?}");
        }
        let reply = get(&site, &document.text(false)).await;
        // The address has a bound of its own.
        let is_refused = matches!(reply.status, Some(414 | 431)) || code(&reply) == document.code;
        assert!(is_refused, "{name} by GET: {reply:?}");
        let mut socket = RawSocket::open(&site.server, &site.user).await;
        for is_subscription in [true, false] {
            socket.say(&subscribe("1", &document.text(is_subscription))).await;
            let Heard::Text(said) = socket.hear().await else { panic!("{name} ended the socket") };
            assert!(
                said.starts_with(r#"{"type":"error","id":"1""#) && said.contains(document.code),
                "{name}: {said}"
            );
        }
        site.others_are_served(name).await;
    }
    site.close().await;
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

async fn slow_peers_are_given_up(mode: Mode) {
    let site = Site::open(mode).await;
    let pause = Duration::from_millis(200);
    let slow_head = Raw::drip(&site.server, "POST /graphql HTTP/1.1\r\nhost: x\r\n", b"x: y\r\n", pause);
    let slow_length = format!("POST /graphql HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 500000\r\n\r\n{{");
    let slow_chunks =
        format!("POST /graphql HTTP/1.1\r\nhost: x\r\n{JSON}transfer-encoding: chunked\r\n\r\n");
    let (head, (body, chunks)) = join(
        slow_head,
        join(
            Raw::drip(&site.server, &slow_length, b" ", pause),
            Raw::drip(&site.server, &slow_chunks, b"1\r\n \r\n", pause),
        ),
    )
    .await;
    assert!(matches!(head.status, None | Some(408)), "{head:?}");
    assert_eq!((body.status, chunks.status), (Some(408), Some(408)));

    // Bodies that are almost there.
    let start = format!("POST /graphql HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 900000\r\n\r\n");
    let almost = [start.as_bytes(), &vec![b' '; 899_000]].concat();
    let waiting = join_all((0..150).map(|_| Raw::exchange(&site.server, almost.clone())));
    let (replies, ()) = join(waiting, site.others_are_served("unfinished bodies")).await;
    let statuses: Vec<_> = replies.iter().filter_map(|reply| reply.status).collect();
    assert!(statuses.contains(&408) && statuses.contains(&503), "{statuses:?}");
    assert!(statuses.iter().all(|status| [408, 503].contains(status)), "{statuses:?}");

    // Answers that nobody reads, by the thousand.
    let document = "{__schema{types{name description fields{name description args{name description}}}}}";
    let request = post(JSON, json!({ "query": document }).to_string().as_bytes());
    let request = String::from_utf8(request).unwrap().replace("connection: close\r\n", "");
    let mut unread = Raw::open(&site.server).await;
    let requests = request.repeat(1_000);
    let flood = unread.0.write_all(requests.as_bytes());
    // It gets stuck as soon as the server does.
    let _ = tokio::time::timeout(Duration::from_secs(1), flood).await;
    assert!(unread.ends().await, "a peer that reads nothing is kept");

    // A stream that nobody reads, of a channel with much to tell.
    let document = "subscription($id: ID!) { channelEvents(channelId: $id) { event { ... on MessageCreated { message { text } } } } }";
    let body = json!({ "query": document, "variables": { "id": site.channel } }).to_string();
    let mut streams = Vec::new();
    for accept in ["text/event-stream", "multipart/mixed;subscriptionSpec=1.0"] {
        let headers = format!("{JSON}{}accept: {accept}\r\n", site.authorization());
        let mut stream = Raw::open(&site.server).await;
        stream.0.write_all(&post(&headers, body.as_bytes())).await.unwrap();
        let mut start = [0; 12];
        stream.0.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        streams.push(stream);
    }
    let sending = async {
        let long = "a".repeat(20_000);
        loop {
            join_all((0..20).map(|_| site.user.send(&site.channel, &long))).await;
        }
    };
    let ends = join_all(streams.into_iter().map(Raw::ends));
    tokio::select! {
        () = sending => unreachable!(),
        given_up = ends => assert_eq!(given_up, [true, true]),
    }
    site.others_are_served("streams that nobody reads").await;
    site.close().await;
}

/// What is sent, and the codes that it may be closed with.
type Case = (&'static str, Vec<u8>, &'static [Option<u16>]);

async fn hostile_sockets_end(mode: Mode) {
    let site = Site::open(mode).await;
    let open = || RawSocket::open(&site.server, &site.user);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));

    let cases: Vec<Case> = vec![
        ("a frame of 10 MB", frame(true, 1, &vec![b' '; 10 << 20]), &[Some(1009)]),
        (
            "a message of 10 MB in frames",
            [frame(false, 1, b"{"), frame(false, 0, &[b' '; 1_000]).repeat(10_000)].concat(),
            &[Some(1009)],
        ),
        (
            "a frame that announces an exabyte",
            [&[0x81, 0xff, 0x0f][..], &[0xff; 7], &[0; 4]].concat(),
            &[Some(1009), None],
        ),
        ("a deep message", text(&nested), &[Some(4400)]),
        ("a deep payload", text(&format!(r#"{{"type":"ping","payload":{{"a":{nested}}}}}"#)), &[Some(4400)]),
        (
            "deep variables",
            text(&format!(
                r#"{{"type":"subscribe","id":"1","payload":{{"query":"{{a}}","variables":{{"a":{nested}}}}}}}"#
            )),
            &[Some(4400)],
        ),
        ("bytes", frame(true, 2, &[0; 100]), &[Some(4400)]),
        ("not UTF-8", frame(true, 1, b"{\"type\":\"ping\xff\"}"), &[Some(1007), Some(4400), None]),
        ("null bytes", text(&"\0".repeat(1_000)), &[Some(4400)]),
        ("an empty message", text(""), &[Some(4400)]),
        ("a control frame that is too long", frame(true, 9, &[0; 126]), &[Some(1002), None]),
        ("a frame of no kind", frame(true, 3, b"x"), &[Some(1002), None]),
        ("a frame without a mask", b"\x81\x02{}".to_vec(), &[Some(1002), None]),
        (
            "an id of 1 MB",
            text(&format!(r#"{{"type":"complete","id":"{}"}}"#, "a".repeat(900_000))),
            &[Some(4400)],
        ),
        ("a list", text("[]"), &[Some(4400)]),
    ];
    for (name, frames, codes) in cases {
        let mut socket = open().await;
        socket.say(&frames).await;
        let code = socket.end().await;
        assert!(codes.contains(&code), "{name}: {code:?}");
        site.others_are_served(name).await;
    }

    // Sockets that never say who they are, or something else first.
    let silent = join_all((0..100).map(|_| RawSocket::silent(&site.server))).await;
    for mut socket in silent {
        assert_eq!(socket.end().await, Some(4408));
    }
    let mut hasty = RawSocket::silent(&site.server).await;
    hasty.say(&subscribe("1", "{ serverInfo { version } }")).await;
    assert_eq!(hasty.end().await, Some(4401));
    site.others_are_served("silent sockets").await;

    let mut greedy = open().await;
    let document = format!("subscription {{ channelEvents(channelId: \"{}\") {{ seq }} }}", site.channel);
    let frames: Vec<u8> = (0..3_000).flat_map(|n| subscribe(&n.to_string(), &document)).collect();
    greedy.say(&frames).await;
    let (mut refused, end) = (0, SOON);
    let counting = async {
        while refused < 2_900 {
            match greedy.hear().await {
                Heard::Text(said) => refused += usize::from(said.contains("QUOTA_EXCEEDED")),
                Heard::End(code) => return assert_eq!(code, Some(1008)),
            }
        }
    };
    tokio::time::timeout(end, counting).await.expect("3,000 subscriptions are neither refused nor closed");
    site.others_are_served("3,000 subscriptions").await;

    // Floods, and answers that nobody reads.
    for (name, start, flood) in [
        ("ping frames", Vec::new(), frame(true, 9, &[0; 125])),
        ("ping messages", Vec::new(), text(r#"{"type":"ping"}"#)),
        ("frames without end", frame(false, 1, b"{"), frame(false, 0, &[b' '; 10_000])),
    ] {
        let mut socket = open().await;
        socket.say(&start).await;
        let flood = flood.repeat(200);
        let closing = async { while socket.say(&flood).await {} };
        assert!(tokio::time::timeout(SOON, closing).await.is_ok(), "{name} go on for ever");
        site.others_are_served(name).await;
    }

    // It answers no ping.
    assert_eq!(open().await.end().await, Some(1008));
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
