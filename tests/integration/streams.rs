//! What is told as it happens, over HTTP: events and parts.

use serde_json::{Value, json};

use crate::support::{Mode, SOON, User, World, both_modes};

both_modes!(
    events_go_on_after_the_last_one_that_was_seen,
    parts_are_told_as_they_happen,
    streams_end_with_their_session,
    a_removed_member_is_told_on_the_stream,
    a_stream_counts_as_presence,
);

pub(crate) const EVENTS: &str = "text/event-stream";
pub(crate) const PARTS: &str = "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0,application/json";

pub(crate) const FOLLOW: &str =
    "subscription($channel: ID!, $after: EventCursor) { channelEvents(channelId: $channel, after: $after) {
    cursor event { __typename
        ... on MessageCreated { message { id text } }
        ... on MessageUpdated { message { id text } }
        ... on StreamReset { reason }
    }
} }";

/// A running stream.
pub(crate) struct Stream {
    response: reqwest::Response,
    rest: Vec<u8>,
    delimiter: &'static str,
}

/// What it brings.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
    /// The `id` of the event, and the item.
    Next(Option<String>, Value),
    Errors(String),
    Complete,
}

impl Stream {
    pub(crate) async fn open(user: &User, accept: &str, variables: Value, last: Option<&str>) -> Self {
        Self::of(user, accept, FOLLOW, variables, last).await
    }

    /// Follows a channel from its present on; returns when the stream is live.
    pub(crate) async fn follow(user: &User, accept: &str, channel: &str) -> Self {
        let variables = json!({ "channel": channel, "after": sync_cursor(user, channel).await });
        let mut stream = Self::open(user, accept, variables, None).await;
        stream.next_of("StreamCaughtUp").await;
        stream
    }

    async fn of(user: &User, accept: &str, document: &str, variables: Value, last: Option<&str>) -> Self {
        let mut request = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .post(format!("http://{}/graphql", user.address()))
            .header("accept", accept)
            .bearer_auth(user.token().unwrap())
            .json(&json!({ "query": document, "variables": variables }));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let delimiter = if accept == EVENTS { "\n\n" } else { "\r\n--graphql" };
        Self { response, rest: Vec::new(), delimiter }
    }

    /// The text up to the next delimiter; None at the end.
    async fn block(&mut self) -> Option<String> {
        let delimiter = self.delimiter.as_bytes();
        loop {
            if let Some(at) = self.rest.windows(delimiter.len()).position(|window| window == delimiter) {
                let rest = self.rest.split_off(at + delimiter.len());
                let mut block = std::mem::replace(&mut self.rest, rest);
                block.truncate(at);
                return Some(String::from_utf8(block).unwrap());
            }
            self.rest.extend_from_slice(&self.response.chunk().await.unwrap()?);
        }
    }

    pub(crate) async fn item(&mut self) -> Item {
        // Signs of life do not count.
        tokio::time::timeout(SOON, self.read()).await.expect("the stream brings nothing")
    }

    async fn read(&mut self) -> Item {
        loop {
            let Some(block) = self.block().await else {
                // The last boundary is followed by two dashes.
                assert_eq!(self.rest, b"--\r\n", "the stream broke off");
                return Item::Complete;
            };
            if block.starts_with("event: complete") {
                assert!(self.block().await.is_none());
                return Item::Complete;
            }
            let Some(at) = block.find('{') else { continue };
            let mut body: Value = serde_json::from_str(&block[at..]).unwrap();
            if body["payload"].is_object() {
                body = body["payload"].take();
            }
            if let Some(code) = body["errors"][0]["extensions"]["code"].as_str() {
                return Item::Errors(code.to_owned());
            }
            if let Value::Object(data) = body["data"].take() {
                let id = block.lines().find_map(|line| line.strip_prefix("id: "));
                return Item::Next(id.map(str::to_owned), data.into_iter().next().unwrap().1);
            }
        }
    }

    async fn next(&mut self) -> (Option<String>, Value) {
        match self.item().await {
            Item::Next(id, item) => (id, item),
            other => panic!("expected an item, got {other:?}"),
        }
    }

    /// Skips what comes before an event of `kind`.
    pub(crate) async fn next_of(&mut self, kind: &str) -> (Option<String>, Value) {
        loop {
            let (id, item) = self.next().await;
            if item["event"]["__typename"] == kind {
                return (id, item);
            }
        }
    }
}

pub(crate) async fn sync_cursor(user: &User, channel: &str) -> Value {
    let document = "query($id: ID!) { channel(id: $id) { syncCursor } }";
    user.query(document, json!({ "id": channel })).await.ok()["channel"]["syncCursor"].take()
}

async fn events_go_on_after_the_last_one_that_was_seen(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let variables = json!({ "channel": channel, "after": sync_cursor(&world.owner, &channel).await });

    let mut stream = Stream::open(&world.owner, EVENTS, variables.clone(), None).await;
    stream.next_of("StreamCaughtUp").await;
    let mut seen: Vec<String> = Vec::new();
    let mut last = None;
    for index in 0..5 {
        world.owner.send(&channel, &index.to_string()).await;
        let (id, item) = stream.next_of("MessageCreated").await;
        assert_eq!(id.as_deref(), item["cursor"].as_str());
        seen.push(item["event"]["message"]["text"].as_str().unwrap().to_owned());
        last = id;
    }
    // The connection is cut, and the request is sent as it was, as an EventSource does.
    drop(stream);
    for index in 5..60 {
        world.owner.send(&channel, &index.to_string()).await;
    }
    let mut stream = Stream::open(&world.owner, EVENTS, variables, last.as_deref()).await;
    loop {
        let (_, item) = stream.next().await;
        match item["event"]["__typename"].as_str() {
            Some("MessageCreated") => {
                seen.push(item["event"]["message"]["text"].as_str().unwrap().to_owned());
            }
            Some("StreamCaughtUp") => break,
            other => panic!("{other:?}: {item}"),
        }
    }
    world.owner.send(&channel, "60").await;
    let (_, item) = stream.next().await;
    seen.push(item["event"]["message"]["text"].as_str().unwrap().to_owned());
    let all: Vec<_> = (0..=60).map(|index: u32| index.to_string()).collect();
    assert_eq!(seen, all, "something is lost or told twice");

    // Without `after` in the document.
    let document = "subscription($channel: ID!) { channelEvents(channelId: $channel) { cursor event {
        __typename ... on MessageCreated { message { text } }
    } } }";
    let variables = json!({ "channel": channel });
    let mut stream = Stream::of(&world.owner, EVENTS, document, variables, last.as_deref()).await;
    assert_eq!(stream.next().await.1["event"]["message"]["text"], "5");
    let variables = json!({ "channel": world.general });
    let mut foreign = Stream::open(&world.owner, EVENTS, variables, last.as_deref()).await;
    assert_eq!(
        (foreign.item().await, foreign.item().await),
        (Item::Errors("INVALID".into()), Item::Complete)
    );
}

async fn parts_are_told_as_they_happen(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let mut stream = Stream::follow(&member, PARTS, &channel).await;
    for text in ["größer", "two"] {
        let sent = world.owner.send(&channel, text).await;
        let (_, item) = stream.next_of("MessageCreated").await;
        assert_eq!(
            (&item["event"]["message"]["id"], &item["event"]["message"]["text"]),
            (&sent["id"], &json!(text))
        );
    }
    let stranger = World::new(mode).await.owner;
    let mut refused = Stream::open(&stranger, PARTS, json!({ "channel": channel }), None).await;
    assert_eq!(
        (refused.item().await, refused.item().await),
        (Item::Errors("NOT_FOUND".into()), Item::Complete)
    );
}

async fn streams_end_with_their_session(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let second = User::sign_in(&world.server, &world.owner.email, &world.owner.password).await;
    let mut events = Stream::follow(&second, EVENTS, &channel).await;
    let mut parts = Stream::follow(&second, PARTS, &channel).await;
    let mut others = Stream::follow(&world.owner, EVENTS, &channel).await;
    let document = "mutation($id: ID!) { revokeSession(id: $id) { __typename } }";
    world.owner.query(document, json!({ "id": second.session })).await.ok();
    for stream in [&mut events, &mut parts] {
        // The transport and the stream itself both notice; whoever is first says why it ends.
        let mut said = false;
        loop {
            match stream.item().await {
                Item::Errors(code) => said |= code == "UNAUTHENTICATED",
                Item::Next(_, item) => {
                    assert_eq!(item["event"]["reason"], "ACCESS_CHANGED", "{item}");
                    said = true;
                }
                Item::Complete => break,
            }
        }
        assert!(said, "a stream ended without a word");
    }
    world.owner.send(&channel, "still here").await;
    assert_eq!(others.next_of("MessageCreated").await.1["event"]["message"]["text"], "still here");
}

async fn a_removed_member_is_told_on_the_stream(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel_of("PRIVATE", &[&member]).await;
    let mut streams =
        [Stream::follow(&member, EVENTS, &channel).await, Stream::follow(&member, PARTS, &channel).await];
    let document = "mutation($id: ID!, $user: ID!) { removeChannelMember(id: $id, userId: $user) { membership { status } } }";
    world.owner.query(document, json!({ "id": channel, "user": member.id })).await.ok();
    world.owner.send(&channel, "behind closed doors").await;
    for stream in &mut streams {
        loop {
            let (id, item) = stream.next().await;
            assert!(!item.to_string().contains("behind closed doors"), "told after the removal: {item}");
            if item["event"]["__typename"] == "StreamReset" {
                assert_eq!((id, &item["event"]["reason"]), (None, &json!("ACCESS_CHANGED")));
                break;
            }
        }
        assert_eq!(stream.item().await, Item::Complete);
    }
}

async fn a_stream_counts_as_presence(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let document = "query($id: ID!) { user(id: $id) { presence { status } } }";
    let read = || async {
        let data = world.owner.query(document, json!({ "id": member.id })).await.ok();
        data["user"]["presence"]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(read().await, "OFFLINE");
    let _stream = Stream::open(&member, EVENTS, json!({ "channel": world.general }), None).await;
    crate::support::eventually("ONLINE", SOON, || async { (read().await == "ONLINE").then_some(()) }).await;
}
