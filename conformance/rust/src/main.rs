//! `quikapp-conformance WORLD`: operations of all kinds over one WebSocket, by graphql-ws-client with types that
//! graphql_client has made from the schema. Prints a line of JSON for each check.

use std::{error::Error, future::IntoFuture, time::Duration};

use futures_util::StreamExt;
use graphql_client::GraphQLQuery;
use graphql_ws_client::{Client, graphql::StreamingOperation};
use serde_json::{Value, json};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{client::IntoClientRequest, http::HeaderValue},
};

type EventCursor = String;
#[allow(clippy::upper_case_acronyms)]
type JSON = Value;

macro_rules! operation {
    ($name:ident) => {
        #[derive(GraphQLQuery)]
        #[graphql(
            schema_path = "../../schema.graphql",
            query_path = "src/operations.graphql",
            response_derives = "Debug",
            skip_serializing_none
        )]
        struct $name;
    };
}

operation!(Sync);
operation!(Send);
operation!(Events);
operation!(Missing);

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Somebody with a channel, as the suite hands them over.
struct World(Value);

impl World {
    fn get(&self, name: &str) -> String {
        self.0[name].as_str().unwrap_or_default().to_owned()
    }

    async fn client(&self) -> Outcome<Client> {
        let mut request = self.get("socketUrl").into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("graphql-transport-ws"));
        let (connection, _) = connect_async(request).await?;
        let payload = json!({ "Authorization": format!("Bearer {}", self.get("token")) });
        let (client, actor) = Client::build(connection).payload(payload)?.await?;
        tokio::spawn(actor.into_future());
        Ok(client)
    }

    async fn send(&self, client: &Client, text: &str) -> Outcome {
        let input = send::SendMessageInput {
            channel_id: self.get("channel"),
            client_message_id: format!("{text} {:?}", std::time::SystemTime::now()),
            text: Some(text.to_owned()),
            kind: send::MessageKind::TEXT,
            blocks: None,
            thread_root_id: None,
            reply_to_id: None,
            broadcast_to_channel: false,
        };
        let mut answers = client.subscribe(StreamingOperation::<Send>::new(send::Variables { input })).await?;
        let answer = answers.next().await.ok_or("no answer")??;
        let sent = answer.data.ok_or_else(|| format!("{:?}", answer.errors))?.send_message.message.text;
        if sent == text { Ok(()) } else { Err(sent.into()) }
    }
}

async fn stream(world: &World) -> Outcome {
    let client = world.client().await?;
    let variables = sync::Variables { id: world.get("channel") };
    let mut answers = client.subscribe(StreamingOperation::<Sync>::new(variables)).await?;
    let answer = answers.next().await.ok_or("no answer")??;
    let after = answer.data.and_then(|data| data.channel).ok_or("no channel")?.sync_cursor;
    world.send(&client, "before").await?;
    let variables = events::Variables { id: world.get("channel"), after: Some(after) };
    let mut items = client.subscribe(StreamingOperation::<Events>::new(variables)).await?;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let item = items.next().await.ok_or("the stream ended")??;
        let item = item.data.ok_or_else(|| format!("{:?}", item.errors))?.channel_events;
        if let events::EventsChannelEventsEvent::MessageCreated(created) = item.event {
            seen.push(created.message.text);
            if seen.len() == 1 {
                world.send(&client, "after").await?;
            }
        }
    }
    if seen == ["before", "after"] { Ok(()) } else { Err(format!("{seen:?}").into()) }
}

async fn refused(world: &World) -> Outcome {
    let client = world.client().await?;
    let variables = missing::Variables { id: "channel_00000000000000000000000000".into() };
    let mut answers = client.subscribe(StreamingOperation::<Missing>::new(variables)).await?;
    let answer = answers.next().await.ok_or("no answer")??;
    let errors = answer.errors.unwrap_or_default();
    let code = errors.first().and_then(|error| error.extensions.as_ref()?.get("code")?.as_str());
    if code == Some("NOT_FOUND") { Ok(()) } else { Err(format!("{errors:?}").into()) }
}

fn tell(name: &str, outcome: Outcome) {
    let error = outcome.err().map(|error| error.to_string());
    println!("{}", json!({ "name": name, "error": error }));
}

#[tokio::main]
async fn main() {
    let world = World(std::env::args().nth(1).and_then(|world| serde_json::from_str(&world).ok()).unwrap_or_default());
    let limit = Duration::from_secs(20);
    let late = |_| Err("it took too long".into());
    tell("a query, mutations and a stream from a cursor on", tokio::time::timeout(limit, stream(&world)).await.unwrap_or_else(late));
    tell("a refused subscription", tokio::time::timeout(limit, refused(&world)).await.unwrap_or_else(late));
}
