//! The demo workspace: people, channels and conversations to look at, made by the same functions that serve clients.
//!
//! Everything in it is found again by slug, address, name or `clientMessageId`: filling it twice adds nothing, and filling
//! goes on where it was cut off.

mod script;

use std::{collections::HashMap, sync::Arc};

use quikapp_chat::{
    Chat, Error, Result,
    access::{ChannelMember, Viewer, VisibleChannel, WorkspaceMember},
    accounts::{ClientInfo, Registration, SignedIn},
    channels::NewChannel,
    entities::{ChannelId, UserId, channels::ChannelType, ids::MessageKey, workspace_members::MemberRole},
    import::{Entry, ImportOptions},
    messages::{MessageKind, NewMessage, change::Edit},
    paging::Window,
};
use tokio::sync::mpsc;

use self::script::{Line, PEOPLE, Person, ROOMS, Room, Twist};

/// The workspace's slug.
pub const SLUG: &str = "demo";
/// The password of everybody in the demo who can sign in.
pub const PASSWORD: &str = "quikapp-demo";

const NAME: &str = "QuikApp Demo";
/// See ATTRIBUTION.md beside it.
const EXCERPT: &str = include_str!("ubuntu-irc-excerpt.jsonl");
/// The channel of the excerpt.
const EXCERPT_CHANNEL: &str = "ubuntu";
/// Written last: where it stands, nothing is missing.
const LAST: &str = "demo:complete";

/// How to look at the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoLogin {
    /// The address of an account that owns the workspace.
    pub email: String,
    /// Its password.
    pub password: String,
}

/// Fills the stores with the demo workspace, or completes it.
///
/// # Errors
/// [`Error::AlreadyExists`] if another workspace has its slug; [`Error::Unauthenticated`] if somebody of the demo has another
/// password meanwhile; [`Error::Unavailable`].
pub async fn fill(chat: &Chat) -> Result<DemoLogin> {
    let login = DemoLogin { email: PEOPLE[0].email(), password: PASSWORD.to_owned() };
    let mut cast = Cast { chat, sessions: HashMap::new() };
    let filled = cast.fill().await;
    // The sessions served to act for these people; nobody holds their tokens.
    for session in cast.sessions.into_values() {
        chat.revoke_session(&session.viewer, session.session.id).await?;
    }
    filled.map(|()| login)
}

/// The login of a demo that is there already; none if it is not, or its password was changed.
pub async fn login(chat: &Chat) -> Option<DemoLogin> {
    let login = DemoLogin { email: PEOPLE[0].email(), password: PASSWORD.to_owned() };
    let session = chat.sign_in(&login.email, &login.password, ClientInfo::default()).await.ok()?;
    chat.revoke_session(&session.viewer, session.session.id).await.ok()?;
    Some(login)
}

/// The people who are signed in for the moment.
struct Cast<'a> {
    chat: &'a Chat,
    sessions: HashMap<&'static str, SignedIn>,
}

impl Cast<'_> {
    async fn fill(&mut self) -> Result<()> {
        let owner = &PEOPLE[0];
        self.sign_in(owner).await?;
        let home = self.workspace().await?;
        if self.is_complete(&home).await? {
            return Ok(());
        }
        for person in &PEOPLE[1..] {
            self.sign_in(person).await?;
        }
        self.gather(&home).await?;
        let mut rooms = HashMap::new();
        for room in ROOMS {
            rooms.insert(room.name, self.open(&home, room).await?);
        }
        self.import().await?;
        let ubuntu = self.find(&home, EXCERPT_CHANNEL).await?.ok_or(Error::NotFound("channel"))?;
        for person in PEOPLE {
            self.chat.join_channel(self.viewer(person.name)?, ubuntu.channel().id).await?;
        }
        let mut sent = HashMap::new();
        for line in script::lines() {
            let room = *rooms.get(line.room).ok_or(Error::NotFound("channel"))?;
            let key = self.say(room, &line, &sent).await?;
            sent.insert(line.id, key);
        }
        let general = *rooms.get("general").ok_or(Error::NotFound("channel"))?;
        let member = self.chat.channel_member(self.viewer(owner.name)?, general).await?;
        let welcome = "Everything above is made up for this demo, except #ubuntu. Write something!";
        self.chat.send_message(&member, message(LAST, welcome)).await?;
        // The process may end before the counters of the channels are copied by themselves.
        self.chat.catch_up().await
    }

    async fn is_complete(&self, home: &WorkspaceMember) -> Result<bool> {
        let Some(general) = self.find(home, "general").await? else { return Ok(false) };
        Ok(self.chat.message_by_client_id(&general, LAST).await?.is_some())
    }

    async fn sign_in(&mut self, person: &'static Person) -> Result<()> {
        let registration = Registration {
            email: person.email(),
            password: PASSWORD.to_owned(),
            display_name: person.display_name.to_owned(),
        };
        let client = ClientInfo::default();
        let session = match self.chat.sign_in(&person.email(), PASSWORD, client.clone()).await {
            Err(Error::Unauthenticated(reason)) => match self.chat.register(registration, client).await {
                // There is such an account, with another password.
                Err(Error::AlreadyExists(_)) => Err(Error::Unauthenticated(reason)),
                result => result,
            },
            result => result,
        }?;
        self.sessions.insert(person.name, session);
        Ok(())
    }

    fn viewer(&self, name: &str) -> Result<&Viewer> {
        self.sessions.get(name).map(|session| &session.viewer).ok_or(Error::Internal)
    }

    async fn workspace(&self) -> Result<WorkspaceMember> {
        let viewer = self.viewer(PEOPLE[0].name)?;
        match self.chat.workspace_by_slug(viewer, SLUG).await {
            Err(Error::NotFound(_)) => self.chat.create_workspace(viewer, NAME, SLUG).await,
            result => result,
        }
    }

    /// Lets in who is not in yet.
    async fn gather(&self, home: &WorkspaceMember) -> Result<()> {
        let mut link = None;
        for person in &PEOPLE[1..] {
            let viewer = self.viewer(person.name)?;
            match self.chat.workspace_by_slug(viewer, SLUG).await {
                Ok(_) => continue,
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            if link.is_none() {
                let new = self.chat.create_invitation(home, None, MemberRole::Member, None).await?;
                link = Some(new.token);
            }
            let token = link.as_deref().unwrap_or_default();
            self.chat.accept_invitation(viewer, token).await?;
        }
        Ok(())
    }

    async fn find(&self, home: &WorkspaceMember, name: &str) -> Result<Option<VisibleChannel>> {
        let mut window = Window::first(100);
        loop {
            let page = self.chat.workspace_channels(home, None, true, &window).await?;
            let last = page.items.last().map(|reader| reader.channel().name.clone());
            if let Some(found) = page.items.into_iter().find(|reader| reader.channel().name == name) {
                return Ok(Some(found));
            }
            match last {
                Some(last) if page.has_more => window = Window::after(last, 100),
                _ => return Ok(None),
            }
        }
    }

    /// Finds a channel, or makes it.
    async fn open(&self, home: &WorkspaceMember, room: &Room) -> Result<ChannelId> {
        let mut others = Vec::new();
        for name in room.people.iter().filter(|name| **name != PEOPLE[0].name) {
            others.push(self.viewer(name)?.user());
        }
        if room.kind == ChannelType::Direct {
            return Ok(self.chat.open_direct_channel(home, &others).await?.0.channel().id);
        }
        if let Some(found) = self.find(home, room.name).await? {
            return Ok(found.channel().id);
        }
        let new = NewChannel {
            kind: room.kind,
            name: Some(room.name.to_owned()),
            topic: Some(room.topic.to_owned()),
            description: None,
            entity_type: None,
            entity_id: None,
            history_visibility: None,
            member_ids: others,
        };
        Ok(self.chat.create_channel(home, new).await?.channel().id)
    }

    /// Says a line and does what is done to it.
    async fn say(
        &self,
        room: ChannelId,
        line: &Line,
        sent: &HashMap<&'static str, MessageKey>,
    ) -> Result<MessageKey> {
        let member = self.member(line.who, room).await?;
        let written = self
            .chat
            .send_message(
                &member,
                NewMessage {
                    thread_root: line.under.and_then(|id| sent.get(id).copied()),
                    reply_to: line.answers.and_then(|id| sent.get(id).copied()),
                    kind: line.kind,
                    ..message(&format!("demo:{}", line.id), &self.addressed(line.text)?)
                },
            )
            .await?
            .message;
        for (emoji, people) in line.reactions {
            for name in *people {
                let member = self.member(name, room).await?;
                self.chat.add_reaction(&member, written.id, (*emoji).to_owned()).await?;
            }
        }
        match line.twist {
            Twist::Edited(text) if written.edited_at.is_none() => {
                let edit = Edit { text: Some(self.addressed(text)?), ..Edit::default() };
                self.chat.edit_message(&member, written.id, edit).await?;
            }
            Twist::Deleted => {
                self.chat.delete_message(&member, written.id).await?;
            }
            Twist::Edited(_) | Twist::None => {}
        }
        Ok(written.api_id())
    }

    async fn member(&self, name: &str, room: ChannelId) -> Result<ChannelMember> {
        self.chat.channel_member(self.viewer(name)?, room).await
    }

    /// The text with `@name` as the API writes it.
    fn addressed(&self, text: &str) -> Result<String> {
        let mut text = text.to_owned();
        for person in PEOPLE {
            let user: UserId = self.viewer(person.name)?.user();
            text = text.replace(&format!("@{}", person.name), &format!("<@{user}>"));
        }
        Ok(text)
    }

    /// Brings the excerpt in, as `quikapp import` would.
    async fn import(&self) -> Result<()> {
        let options = ImportOptions {
            workspace: SLUG.to_owned(),
            owner: None,
            channel: Some(EXCERPT_CHANNEL.to_owned()),
        };
        let entries: Vec<Entry> = (1..)
            .zip(EXCERPT.lines())
            .map(|(number, line)| Entry::parse(number, line.as_bytes()))
            .collect::<std::result::Result<_, _>>()
            .map_err(|reason| {
                tracing::error!(reason, "the demo's excerpt cannot be read");
                Error::Internal
            })?;
        let (sender, receiver) = mpsc::channel(1);
        sender.send(entries).await.map_err(|_| Error::Internal)?;
        drop(sender);
        self.chat.import(&options, receiver, Arc::new(|_| {})).await?;
        Ok(())
    }
}

fn message(id: &str, text: &str) -> NewMessage {
    NewMessage {
        client_message_id: id.to_owned(),
        text: Some(text.to_owned()),
        blocks: Vec::new(),
        kind: MessageKind::Text,
        thread_root: None,
        reply_to: None,
        broadcast: false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use quikapp_chat::{
        Parts,
        clock::Environment,
        database::Database,
        live::Hub,
        store::{MessageStore, sqlite::SqliteStore},
    };

    use super::*;

    async fn channels(chat: &Chat, login: &DemoLogin) -> Vec<(String, ChannelType, i32, i64, i64)> {
        let session = chat.sign_in(&login.email, &login.password, ClientInfo::default()).await.unwrap();
        let home = chat.workspace_by_slug(&session.viewer, SLUG).await.unwrap();
        assert_eq!(home.role(), MemberRole::Owner);
        let page = chat.workspace_channels(&home, None, true, &Window::first(100)).await.unwrap();
        let row = |reader: &VisibleChannel| {
            let channel = reader.channel();
            (channel.name.clone(), channel.kind, channel.member_count, channel.message_count, channel.log_seq)
        };
        page.items.iter().map(row).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn filling_twice_adds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("quikapp.db");
        let database = Database::sqlite(&file).await.unwrap();
        quikapp_migration::migrate(database.connection()).await.unwrap();
        let store: Arc<dyn MessageStore> = Arc::new(SqliteStore::open(&file).unwrap());
        let environment = Environment::default();
        let hub = Hub::alone(Arc::clone(&store), &environment);
        let chat = Chat::new(Parts {
            database,
            store,
            hub,
            environment,
            jwt_secret: vec![7; 32],
            presence: quikapp_chat::presence::Timing::default(),
        });

        let login = fill(&chat).await.unwrap();
        let once = channels(&chat, &login).await;
        let ubuntu = once.iter().find(|channel| channel.0 == EXCERPT_CHANNEL).unwrap();
        assert_eq!((ubuntu.1, ubuntu.2, ubuntu.3), (ChannelType::Public, 42 + 8, 300));
        let general = once.iter().find(|channel| channel.0 == "general").unwrap();
        assert_eq!((general.2, general.3), (42 + 8, 20));
        for kind in [ChannelType::Private, ChannelType::Direct] {
            assert_eq!(once.iter().filter(|channel| channel.1 == kind).count(), 1, "{kind:?}");
        }
        assert_eq!(fill(&chat).await.unwrap(), login);
        assert_eq!(channels(&chat, &login).await, once);
    }
}
