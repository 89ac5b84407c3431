//! Documents that are made to cost much, on every transport.

use serde_json::json;

use super::{Site, code, get, many, subscribe};
use crate::support::{
    Mode, both_modes,
    raw::{Heard, JSON, Raw, RawSocket, post},
};

both_modes!(hostile_documents_are_refused_on_every_transport);

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
        of(
            "a long variable used 2,000 times",
            "TOO_COSTLY",
            format!("($v: [String!] = [{}])", "\"a\" ".repeat(2_000)),
            format!("reactions(emoji: [{}]) {{ nodes {{ emoji }} }}", "$v ".repeat(2_000)),
            String::new(),
        ),
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
