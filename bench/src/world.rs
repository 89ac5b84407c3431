//! The people and channels that benchmarks use, made by the API.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::{
    failure::{Failure, Result},
    http::Http,
};

/// Requests at a time while things are prepared.
const AT_ONCE: usize = 8;
/// Members that a channel is made with; the API takes no more at once.
pub(crate) const MEMBERS: usize = 100;
const PASSWORD: &str = "password-of-a-benchmark";
/// Tokens last fifteen minutes.
const FRESH: Duration = Duration::from_mins(4);

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct User {
    id: String,
    email: String,
    pub(crate) token: String,
}

/// A workspace.
pub(crate) struct World {
    /// The first one owns it.
    pub(crate) users: Vec<User>,
    workspace: String,
    signed_in: Instant,
}

impl World {
    /// One with so many users.
    pub(crate) async fn new(address: SocketAddr, users: usize) -> Result<Self> {
        let users: Vec<User> = stream::iter(0..users)
            .map(|number| register(address, number))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let owner = users.first().ok_or_else(|| Failure::new("a world needs somebody"))?;
        let mut http = Http::connect(address, Some(&owner.token)).await?;
        let data = http
            .query(
                "mutation { createWorkspace(name: \"Bench\", slug: \"bench\") { workspace { id } } }",
                json!({}),
            )
            .await?;
        let workspace = text(&data["createWorkspace"]["workspace"]["id"])?;
        let document = "mutation($id: ID!) { createInvitation(workspaceId: $id) { token } }";
        let data = http.query(document, json!({ "id": workspace })).await?;
        let invitation = text(&data["createInvitation"]["token"])?;
        stream::iter(&users[1..])
            .map(|user| accept(address, user, &invitation))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(Self { users, workspace, signed_in: Instant::now() })
    }

    /// Signs everybody in again unless that was a short while ago.
    pub(crate) async fn refresh(&mut self, address: SocketAddr) -> Result<()> {
        if self.signed_in.elapsed() < FRESH {
            return Ok(());
        }
        let tokens: Vec<String> = stream::iter(&self.users)
            .map(|user| sign_in(address, user))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        for (user, token) in self.users.iter_mut().zip(tokens) {
            user.token = token;
        }
        self.signed_in = Instant::now();
        Ok(())
    }

    /// The user of this number, counted round and round.
    pub(crate) fn user(&self, number: usize) -> &User {
        &self.users[number % self.users.len()]
    }

    /// A new public channel; its owner and `members` are in it.
    pub(crate) async fn channel(
        &self,
        address: SocketAddr,
        name: &str,
        members: impl Iterator<Item = usize>,
    ) -> Result<String> {
        let owner = self.user(0);
        let members: Vec<&str> = members.map(|number| self.user(number).id.as_str()).collect();
        let members: Vec<&str> = members.into_iter().filter(|id| *id != owner.id).collect();
        let input = json!({
            "workspaceId": self.workspace, "type": "PUBLIC", "name": name, "memberIds": members,
        });
        let document =
            "mutation($input: CreateChannelInput!) { createChannel(input: $input) { channel { id } } }";
        let mut http = Http::connect(address, Some(&owner.token)).await?;
        let data = http.query(document, json!({ "input": input })).await?;
        text(&data["createChannel"]["channel"]["id"])
    }

    /// A channel's position now.
    pub(crate) async fn cursor(&self, address: SocketAddr, channel: &str) -> Result<String> {
        let mut http = Http::connect(address, Some(&self.user(0).token)).await?;
        let document = "query($id: ID!) { channel(id: $id) { syncCursor } }";
        let data = http.query(document, json!({ "id": channel })).await?;
        text(&data["channel"]["syncCursor"])
    }
}

async fn register(address: SocketAddr, number: usize) -> Result<User> {
    let email = format!("user-{number}@bench.example");
    let document = "mutation($email: String!, $password: String!, $name: String!) { \
         register(email: $email, password: $password, displayName: $name) { accessToken viewer { user { id } } } }";
    let variables = json!({ "email": email, "password": PASSWORD, "name": format!("Person {number:03}") });
    let data = Http::connect(address, None).await?.query(document, variables).await?;
    let payload = &data["register"];
    Ok(User { id: text(&payload["viewer"]["user"]["id"])?, email, token: text(&payload["accessToken"])? })
}

async fn sign_in(address: SocketAddr, user: &User) -> Result<String> {
    let document = "mutation($email: String!, $password: String!) { \
         signIn(email: $email, password: $password) { accessToken } }";
    let variables = json!({ "email": user.email, "password": PASSWORD });
    let data = Http::connect(address, None).await?.query(document, variables).await?;
    text(&data["signIn"]["accessToken"])
}

async fn accept(address: SocketAddr, user: &User, invitation: &str) -> Result<()> {
    let document = "mutation($token: String!) { acceptInvitation(token: $token) { workspace { id } } }";
    let mut http = Http::connect(address, Some(&user.token)).await?;
    http.query(document, json!({ "token": invitation })).await?;
    Ok(())
}

/// A text in an answer.
pub(crate) fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| Failure::new(format!("a text was expected: {value}")))
}
