//! A workspace with people and channels in it.

use std::ops::Deref;

use serde_json::{Value, json};

use super::{Client, Mode, Server, Socket, client_message_id, email, unique};

/// What tests read of a message by default.
pub(crate) const MESSAGE: &str =
    "id seq kind text isEdited isDeleted clientMessageId author { id displayName }";

/// A registered person; derefs to the client that is signed in.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) name: String,
    pub(crate) refresh_token: String,
    pub(crate) session: String,
    client: Client,
}

impl Deref for User {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

const SESSION: &str = "accessToken refreshToken session { id } viewer { user { id displayName } email }";

impl User {
    /// Registers somebody new.
    pub(crate) async fn register(server: &Server) -> Self {
        let (email, password, name) = (email(), unique("password"), unique("Name"));
        let document = format!(
            "mutation($email: String!, $password: String!, $name: String!) {{
                register(email: $email, password: $password, displayName: $name) {{ {SESSION} }}
            }}"
        );
        let variables = json!({ "email": email, "password": password, "name": name });
        let data = server.anonymous().query(&document, variables).await.ok();
        Self::from_payload(server, &data["register"], password)
    }

    /// Signs somebody in once more: another session of the same person.
    pub(crate) async fn sign_in(server: &Server, email: &str, password: &str) -> Self {
        let document = format!(
            "mutation($email: String!, $password: String!) {{ signIn(email: $email, password: $password) {{ {SESSION} }} }}"
        );
        let data =
            server.anonymous().query(&document, json!({ "email": email, "password": password })).await.ok();
        Self::from_payload(server, &data["signIn"], password.to_owned())
    }

    fn from_payload(server: &Server, payload: &Value, password: String) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            id: text(&payload["viewer"]["user"]["id"]),
            email: text(&payload["viewer"]["email"]),
            password,
            name: text(&payload["viewer"]["user"]["displayName"]),
            refresh_token: text(&payload["refreshToken"]),
            session: text(&payload["session"]["id"]),
            client: Client::new(server, Some(text(&payload["accessToken"]))),
        }
    }

    /// The same person at another node.
    pub(crate) fn at(&self, server: &Server) -> Self {
        Self { client: self.client.at(server), ..self.clone() }
    }

    /// Opens a socket.
    pub(crate) async fn socket(&self) -> Socket {
        Socket::open(&self.client).await
    }

    /// Sends a message; gives it.
    pub(crate) async fn send(&self, channel: &str, text: &str) -> Value {
        self.send_input(json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": text }))
            .await
    }

    /// Replies in a thread; gives the reply.
    pub(crate) async fn reply(&self, channel: &str, root: &Value, text: &str) -> Value {
        self.send_input(json!({
            "channelId": channel, "clientMessageId": client_message_id(), "text": text, "threadRootId": root["id"],
        }))
        .await
    }

    /// Sends what `input` says.
    pub(crate) async fn send_input(&self, input: Value) -> Value {
        let document = format!(
            "mutation($input: SendMessageInput!) {{ sendMessage(input: $input) {{ message {{ {MESSAGE} }} }} }}"
        );
        self.query(&document, json!({ "input": input })).await.ok()["sendMessage"]["message"].take()
    }

    /// All texts of a channel's timeline, oldest first, system messages left out.
    pub(crate) async fn texts(&self, channel: &str) -> Vec<String> {
        let messages = self.history(channel).await;
        let of_people = messages.iter().filter(|message| message["kind"] != "SYSTEM");
        of_people.map(|message| message["text"].as_str().unwrap().to_owned()).collect()
    }

    /// A channel's whole timeline, oldest first.
    pub(crate) async fn history(&self, channel: &str) -> Vec<Value> {
        let document = format!(
            "query($id: ID!, $after: String) {{ channel(id: $id) {{
                messages(first: 100, after: $after) {{ nodes {{ {MESSAGE} }} pageInfo {{ hasNextPage endCursor }} }}
            }} }}"
        );
        let mut messages = Vec::new();
        let mut after = Value::Null;
        loop {
            let data = self.query(&document, json!({ "id": channel, "after": after })).await.ok();
            let page = &data["channel"]["messages"];
            messages.extend(page["nodes"].as_array().unwrap().iter().cloned());
            if page["pageInfo"]["hasNextPage"] != true {
                return messages;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
    }
}

/// A workspace, its owner, and ways to fill it.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) owner: User,
    pub(crate) workspace: String,
    pub(crate) slug: String,
    /// The channel that everybody is in.
    pub(crate) general: String,
}

impl World {
    /// A new one on the server that tests of this mode share.
    pub(crate) async fn new(mode: Mode) -> Self {
        Self::on(&Server::shared(mode).await).await
    }

    /// A new one on `server`.
    pub(crate) async fn on(server: &Server) -> Self {
        let owner = User::register(server).await;
        let slug = unique("team");
        let document = "mutation($slug: String!) {
            createWorkspace(name: \"Team\", slug: $slug) {
                workspace { id channels(first: 10) { nodes { id isGeneral } } }
            }
        }";
        let data = owner.query(document, json!({ "slug": slug })).await.ok();
        let workspace = &data["createWorkspace"]["workspace"];
        let channels = workspace["channels"]["nodes"].as_array().unwrap();
        let general =
            channels.iter().find(|channel| channel["isGeneral"] == true).expect("a general channel");
        Self {
            server: server.clone(),
            workspace: workspace["id"].as_str().unwrap().to_owned(),
            general: general["id"].as_str().unwrap().to_owned(),
            owner,
            slug,
        }
    }

    /// Somebody new who accepted an invitation.
    pub(crate) async fn member(&self) -> User {
        self.member_as("MEMBER").await
    }

    /// Somebody new who accepted an invitation as `role`.
    pub(crate) async fn member_as(&self, role: &str) -> User {
        let user = User::register(&self.server).await;
        user.query(
            "mutation($token: String!) { acceptInvitation(token: $token) { workspace { id } } }",
            json!({
                "token": self.invitation(role).await,
            }),
        )
        .await
        .ok();
        user
    }

    /// A fresh invitation's token.
    pub(crate) async fn invitation(&self, role: &str) -> String {
        let document = "mutation($workspace: ID!, $role: MemberRole!) {
            createInvitation(workspaceId: $workspace, role: $role) { token }
        }";
        let data =
            self.owner.query(document, json!({ "workspace": self.workspace, "role": role })).await.ok();
        data["createInvitation"]["token"].as_str().unwrap().to_owned()
    }

    /// A new public channel of the owner's with `members`.
    pub(crate) async fn channel(&self, members: &[&User]) -> String {
        self.channel_of("PUBLIC", members).await
    }

    /// A new channel of the owner's with `members`.
    pub(crate) async fn channel_of(&self, kind: &str, members: &[&User]) -> String {
        let members: Vec<_> = members.iter().map(|user| user.id.as_str()).collect();
        let input = json!({
            "workspaceId": self.workspace, "type": kind, "name": unique("channel"), "memberIds": members,
        });
        let document =
            "mutation($input: CreateChannelInput!) { createChannel(input: $input) { channel { id } } }";
        let data = self.owner.query(document, json!({ "input": input })).await.ok();
        data["createChannel"]["channel"]["id"].as_str().unwrap().to_owned()
    }
}
