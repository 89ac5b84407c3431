//! Peers that do not read or write in time, and sockets that break the rules.

use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Site, subscribe};
use crate::support::{
    Mode, SOON, both_modes,
    raw::{Heard, JSON, Raw, RawSocket, frame, post, text},
};

both_modes!(slow_peers_are_given_up, hostile_sockets_end);

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
