//! The importer on a real `SQLite` file.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
};

use quikapp_chat::{
    Chat, Error, Parts,
    access::{Viewer, VisibleChannel, WorkspaceMember},
    accounts::{ClientInfo, Registration},
    channels::NewChannel,
    clock::Environment,
    database::Database,
    entities::{Timestamp, channels::ChannelType, workspace_members::MemberRole},
    import::{Entry, EntryKind, ImportEvent, ImportOptions, ImportSummary},
    live::Hub,
    messages::{Message, MessageKind},
    paging::Window,
    store::{MessageStore, PageQuery, Scope, sqlite::SqliteStore},
};
use tokio::sync::mpsc;

/// By channel its counters of members and messages, the time of its newest message, its tick, and its messages.
type State = BTreeMap<String, (i32, i64, Option<Timestamp>, i64, Vec<Message>)>;

struct World {
    chat: Chat,
    store: Arc<dyn MessageStore>,
    viewer: Viewer,
    _folder: tempfile::TempDir,
}

const OWNER: &str = "owner@quikapp.example";

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("quikapp.db");
        let database = Database::sqlite(&file).await.unwrap();
        quikapp_migration::migrate(database.connection()).await.unwrap();
        let store: Arc<dyn MessageStore> = Arc::new(SqliteStore::open(&file).unwrap());
        let environment = Environment::default();
        let hub = Hub::alone(Arc::clone(&store), &environment);
        let chat = Chat::new(Parts {
            database,
            store: Arc::clone(&store),
            hub,
            environment,
            jwt_secret: vec![7; 32],
            presence: quikapp_chat::presence::Timing::default(),
        });
        let registration =
            Registration { email: OWNER.into(), password: "password".into(), display_name: "Owner".into() };
        let viewer = chat.register(registration, ClientInfo::default()).await.unwrap().viewer;
        Self { chat, store, viewer, _folder: folder }
    }

    async fn import(&self, entries: &[Entry]) -> (ImportSummary, Vec<ImportEvent>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let options = ImportOptions { workspace: "history".into(), owner: Some(OWNER.into()), channel: None };
        let (sender, receiver) = mpsc::channel(2);
        let batches: Vec<Vec<Entry>> = entries.chunks(700).map(<[_]>::to_vec).collect();
        let feed = async move {
            for batch in batches {
                sender.send(batch).await.unwrap();
            }
        };
        let told = Arc::clone(&events);
        let listener = Arc::new(move |event| told.lock().unwrap().push(event));
        let (summary, ()) = tokio::join!(self.chat.import(&options, receiver, listener), feed);
        let events = std::mem::take(&mut *events.lock().unwrap());
        let done: usize =
            events.iter().map(|event| if let ImportEvent::Done(n) = event { *n } else { 0 }).sum();
        assert_eq!(done, entries.len(), "every entry is dealt with");
        let events = events.into_iter().filter(|event| !matches!(event, ImportEvent::Done(_))).collect();
        (summary.unwrap(), events)
    }

    async fn home(&self) -> WorkspaceMember {
        self.chat.workspace_by_slug(&self.viewer, "history").await.unwrap()
    }

    async fn channels(&self) -> BTreeMap<String, VisibleChannel> {
        let window = Window::first(200);
        let page = self.chat.workspace_channels(&self.home().await, None, true, &window).await.unwrap();
        page.items.into_iter().map(|reader| (reader.channel().name.clone(), reader)).collect()
    }

    async fn messages(&self, channel: &VisibleChannel) -> Vec<Message> {
        let query = PageQuery {
            scope: Scope::Timeline,
            after: 0,
            before: i64::MAX,
            limit: 100_000,
            newest_first: false,
        };
        self.store.page(channel.key(), query).await.unwrap()
    }

    /// Everything that an import writes.
    async fn state(&self) -> State {
        let mut state = BTreeMap::new();
        for (name, reader) in self.channels().await {
            let row = reader.channel();
            let messages = self.messages(&reader).await;
            state.insert(
                name,
                (row.member_count, row.message_count, row.last_message_at, row.log_seq, messages),
            );
        }
        state
    }
}

fn entry(line: u64, id: &str, kind: EntryKind, user: &str, text: &str, reply_to: Option<&str>) -> Entry {
    Entry {
        line,
        id: id.into(),
        // Now and then the clock steps back.
        at: Timestamp(
            1_100_000_000_000 + i64::try_from(line).unwrap() * 1_000
                - i64::from(line.is_multiple_of(5)) * 60_000,
        ),
        kind,
        user: user.into(),
        text: text.into(),
        reply_to: reply_to.map(Into::into),
    }
}

/// Seven interleaved excerpts with odd texts, answers, joins and leaves.
fn history(lines: u64) -> Vec<Entry> {
    const TEXTS: [&str; 6] = [
        "",
        "hello",
        "\u{0}\u{3}04red\u{1b}",
        "👩‍👩‍👧 ünï\u{202e}",
        "  spaces \r\n kept\t",
        "'; DROP TABLE users; --",
    ];
    (1..=lines)
        .map(|line| {
            let excerpt = line % 7;
            let user = format!("Nick{}{}", line % 90, if line % 11 == 0 { "^ " } else { "" });
            let kind = match line % 23 {
                0 => EntryKind::Join,
                1 => EntryKind::Leave,
                2 => EntryKind::Action,
                _ => EntryKind::Message,
            };
            let text = if line % 3 == 0 {
                format!("nick{}: {line}", (line + 7) % 90)
            } else {
                TEXTS[usize::try_from(line % 6).unwrap()].to_owned()
            };
            let text = if matches!(kind, EntryKind::Join | EntryKind::Leave) { String::new() } else { text };
            // The one before in the same excerpt; now and then that is a join, which is no message.
            let reply = (line > 7 && line % 4 == 0).then(|| format!("log.{excerpt}:{}", line - 7));
            entry(line, &format!("log.{excerpt}:{line}"), kind, &user, &text, reply.as_deref())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_comes_in_as_it_is_and_only_once() {
    let world = World::new().await;
    let history = history(5_000);
    let (summary, events) = world.import(&history).await;
    let written: Vec<&Entry> = history.iter().filter(|entry| entry.kind.is_written()).collect();
    let actions = written.iter().filter(|entry| entry.kind == EntryKind::Action).count() as u64;
    let nicks: HashSet<&str> = history.iter().map(|entry| entry.user.as_str()).collect();
    assert_eq!(summary.messages + summary.actions, written.len() as u64);
    assert_eq!((summary.actions, summary.channels, summary.users), (actions, 7, nicks.len() as u64));
    assert_eq!((summary.already_there, summary.skipped), (0, 0));

    let mut ids = HashMap::new();
    let mut unanswered = 0;
    let channels = world.channels().await;
    for (name, reader) in &channels {
        let expected: Vec<&&Entry> = written.iter().filter(|entry| entry.excerpt() == name).collect();
        let found = world.messages(reader).await;
        assert_eq!(found.len(), expected.len(), "{name}");
        let authors: Vec<_> = found.iter().map(|message| message.author).collect();
        let people = world.chat.users(&authors).await.unwrap();
        let names: HashMap<_, _> = people.iter().map(|user| (user.id, user.display_name.as_str())).collect();
        for (tick, (message, entry)) in (1..).zip(found.iter().zip(&expected)) {
            assert_eq!((message.ts, message.seq, message.visible_count), (tick, tick, tick));
            assert_eq!(message.client_message_id.as_deref(), Some(entry.id.as_str()));
            assert_eq!((message.text.as_str(), message.created_at), (entry.text.as_str(), entry.at));
            assert_eq!(names[&message.author], entry.user.trim());
            assert_eq!(message.kind == MessageKind::Action, entry.kind == EntryKind::Action);
            let answered = entry.reply_to.as_ref().and_then(|id| ids.get(id)).copied();
            unanswered += u64::from(entry.reply_to.is_some() && answered.is_none());
            assert_eq!(message.reply_to, answered, "{}", entry.id);
            assert!(message.thread_root.is_none());
            ids.insert(entry.id.clone(), message.id);
        }
        if name != "general" {
            let row = reader.channel();
            let speakers: HashSet<&str> = history
                .iter()
                .filter(|entry| entry.excerpt() == name)
                .map(|entry| entry.user.as_str())
                .collect();
            assert_eq!(row.kind, ChannelType::Public);
            assert_eq!(usize::try_from(row.member_count).unwrap(), speakers.len());
            assert_eq!(usize::try_from(row.message_count).unwrap(), expected.len());
            assert_eq!(row.log_seq, row.message_count);
            assert_eq!(row.last_message_at, found.last().map(|message| message.created_at));
        }
    }
    assert!(unanswered > 0);
    assert_eq!((summary.unanswered, events.len() as u64), (unanswered, unanswered));
    let home = world.home().await;
    assert_eq!(home.role(), MemberRole::Owner);
    assert_eq!(usize::try_from(home.workspace().member_count).unwrap(), nicks.len() + 1);
    assert_eq!(channels["general"].channel().member_count, home.workspace().member_count);

    let before = world.state().await;
    let (summary, events) = world.import(&history).await;
    assert_eq!(summary, ImportSummary { already_there: written.len() as u64, ..ImportSummary::default() });
    assert_eq!((events, world.state().await == before), (Vec::new(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_cut_off_is_finished_by_the_next() {
    let history = history(3_000);
    let (cut, whole) = (World::new().await, World::new().await);
    cut.import(&history[..1_234]).await;
    cut.import(&history).await;
    whole.import(&history).await;
    // Ids and people differ between two worlds, the rest does not.
    let told = |state: State| {
        let mut told = Vec::new();
        for (name, (members, count, last, seq, messages)) in state {
            let position: HashMap<_, _> = messages.iter().map(|one| (one.id, one.ts)).collect();
            let messages: Vec<_> = messages
                .iter()
                .map(|one| (one.ts, one.text.clone(), one.reply_to.map(|id| position[&id]), one.created_at))
                .collect();
            told.push((name, members, count, last, seq, messages));
        }
        told
    };
    assert_eq!(told(cut.state().await), told(whole.state().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_at_once_write_everything_once() {
    let world = World::new().await;
    let history = history(2_000);
    let written = history.iter().filter(|entry| entry.kind.is_written()).count() as u64;
    let ((one, _), (other, _)) = tokio::join!(world.import(&history), world.import(&history));
    assert_eq!(one.messages + one.actions + other.messages + other.actions, written);
    assert_eq!(one.already_there + other.already_there, written);
    assert_eq!((one.channels + other.channels, one.users + other.users), (7, 180));
    let (again, _) = world.import(&history).await;
    assert_eq!(again.already_there, written);
    for (.., messages) in world.state().await.into_values() {
        let before = |message: &Message, id| messages.iter().any(|one| one.id == id && one.ts < message.ts);
        assert!(messages.iter().all(|message| message.reply_to.is_none_or(|id| before(message, id))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_in_is_told_and_the_rest_goes_in() {
    use EntryKind::{Join, Message};
    let world = World::new().await;
    let home = world.chat.create_workspace(&world.viewer, "History", "history").await.unwrap();
    let private = NewChannel {
        kind: ChannelType::Private,
        name: Some("secret".into()),
        topic: None,
        description: None,
        entity_type: None,
        entity_id: None,
        history_visibility: None,
        member_ids: Vec::new(),
    };
    world.chat.create_channel(&home, private).await.unwrap();
    let long = "x".repeat(100);
    let entries = [
        entry(1, "a:1", Message, "Amy", "bob: later", Some("a:2")),
        entry(2, "a:2", Message, "Bob", "amy, cy: AMY", Some("a:1")),
        entry(3, "a:3", Join, "Cy", "", None),
        entry(4, "a:4", Message, "Bob", "to a join", Some("a:3")),
        entry(5, "a:5", Message, "Bob", "to nothing", Some("a:99")),
        entry(6, "a:2", Message, "Bob", "the same again", None),
        entry(7, "a:2", Message, "Amy", "somebody else's id", None),
        entry(8, "secret:1", Message, "Amy", "not public", None),
        entry(9, &format!("{long}:1"), Message, "Amy", "to another channel", Some("a:1")),
        entry(10, "dm:x:1", Message, "Amy", "a reserved name", None),
    ];
    let (summary, events) = world.import(&entries).await;
    assert_eq!(
        summary,
        ImportSummary {
            users: 3,
            channels: 3,
            messages: 6,
            actions: 0,
            already_there: 1,
            skipped: 2,
            unanswered: 4
        }
    );
    let mut lines: Vec<(u64, bool)> = events
        .iter()
        .map(|event| match event {
            ImportEvent::Skipped { line, .. } => (*line, true),
            ImportEvent::Unanswered { line, .. } => (*line, false),
            ImportEvent::Done(_) => (0, false),
        })
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, [(1, false), (4, false), (5, false), (7, true), (8, true), (9, false)]);

    let channels = world.channels().await;
    assert!(world.messages(&channels["secret"]).await.is_empty());
    assert_eq!(channels["a"].channel().member_count, 3);
    let messages = world.messages(&channels["a"]).await;
    let texts: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["bob: later", "amy, cy: AMY", "to a join", "to nothing"]);
    assert_eq!(messages[0].mentions, [messages[1].author]);
    assert_eq!(messages[1].mentions[0], messages[0].author);
    assert_eq!(messages[1].mentions.len(), 2, "somebody who only joined is known too");
    assert_eq!(messages[1].reply_to, Some(messages[0].id));
    let cut = channels.keys().find(|name| name.starts_with("xxx")).unwrap();
    assert_eq!(cut.chars().count(), 80);
    assert!(channels.keys().any(|name| name.starts_with("dm-x-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_without_an_account_is_told() {
    let world = World::new().await;
    let options = ImportOptions {
        workspace: "history".into(),
        owner: Some("nobody@quikapp.example".into()),
        channel: None,
    };
    let (sender, receiver) = mpsc::channel(1);
    sender.send(history(10)).await.unwrap();
    drop(sender);
    let result = world.chat.import(&options, receiver, Arc::new(|_| {})).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    assert!(world.chat.workspace_by_slug(&world.viewer, "history").await.is_err());
}
