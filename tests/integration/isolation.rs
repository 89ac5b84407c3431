//! What somebody may not see does not exist for them: every root field of the schema is tried with every kind of id, as a
//! stranger, as a colleague outside of a private channel, and anonymously. Operations are made from the schema, so a new
//! field is tried as soon as it is there.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use crate::support::{
    Client, Item, Mode, Socket, User, World, both_modes, client_message_id,
    introspection::{Introspection, inner_name, list, type_text},
    unique,
};

both_modes!(
    strangers_learn_nothing,
    colleagues_learn_nothing_of_private_channels,
    without_credentials_there_is_nothing,
    a_slug_tells_strangers_nothing,
);

/// What works, or may fail in its own way, without credentials.
const OPEN_TO_ALL: [&str; 5] = ["register", "signIn", "refreshSession", "serverInfo", "viewer"];

/// A kind of id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    User,
    Session,
    Workspace,
    Member,
    Channel,
    Membership,
    Message,
}

const KINDS: [Kind; 7] = [
    Kind::User,
    Kind::Session,
    Kind::Workspace,
    Kind::Member,
    Kind::Channel,
    Kind::Membership,
    Kind::Message,
];

/// The kinds that an argument takes, by its name; `id` and `ids` may take any.
fn kinds_of(field: &str, argument: &str) -> Vec<Kind> {
    if argument == "id" || argument == "ids" {
        return KINDS.to_vec();
    }
    let name = argument.strip_suffix("Ids").or_else(|| argument.strip_suffix("Id")).unwrap_or(argument);
    vec![match name {
        "channel" => Kind::Channel,
        "workspace" => Kind::Workspace,
        "user" | "member" => Kind::User,
        "message" | "threadRoot" | "replyTo" | "root" | "upToMessage" | "fromMessage" => Kind::Message,
        _ => panic!("teach this test which kind of id {field} takes as {argument}"),
    }]
}

/// A workspace with one thing of each kind, in a private channel where that applies.
struct Target {
    world: World,
    peer: User,
    ids: HashMap<Kind, Value>,
    own_id: String,
}

impl Target {
    async fn new(mode: Mode) -> Self {
        let world = World::new(mode).await;
        let peer = world.member().await;
        let channel = world.channel_of("PRIVATE", &[&peer]).await;
        let own_id = client_message_id();
        let input = json!({ "channelId": channel, "clientMessageId": own_id, "text": "secret" });
        let message = world.owner.send_input(input).await;
        let entity = json!({
            "workspaceId": world.workspace, "type": "TOPIC", "name": unique("topic"), "entityType": ENTITY_TYPE,
            "entityId": ENTITY_ID,
        });
        let document =
            "mutation($input: CreateChannelInput!) { createChannel(input: $input) { channel { id } } }";
        world.owner.query(document, json!({ "input": entity })).await.ok();
        let second = User::sign_in(&world.server, &world.owner.email, &world.owner.password).await;
        let document = "query($workspace: ID!, $channel: ID!) {
            workspace(id: $workspace) { members { nodes { id user { id } } } }
            channel(id: $channel) { members { nodes { id user { id } } } }
        }";
        let variables = json!({ "workspace": world.workspace, "channel": channel });
        let data = world.owner.query(document, variables).await.ok();
        let of_peer = |members: &Value| {
            let members = list(&members["members"]["nodes"]);
            members.iter().find(|member| member["user"]["id"] == peer.id).unwrap()["id"].clone()
        };
        let ids = HashMap::from([
            (Kind::User, json!(peer.id)),
            (Kind::Session, json!(second.session)),
            (Kind::Workspace, json!(world.workspace)),
            (Kind::Member, of_peer(&data["workspace"])),
            (Kind::Channel, json!(channel)),
            (Kind::Membership, of_peer(&data["channel"])),
            (Kind::Message, message["id"].clone()),
        ]);
        Self { world, peer, ids, own_id }
    }

    /// What must be the same after all attempts of others.
    async fn state(&self) -> Value {
        let document = "query($workspace: ID!, $channel: ID!, $message: ID!) {
            workspace(id: $workspace) { name memberCount channelCount members { nodes { role user { id } } } }
            channel(id: $channel) { name topic isArchived memberCount messages(first: 100) { nodes { id seq text } } }
            message(id: $message) { seq text isDeleted reactionGroups { emoji } thread { replyCount } }
        }";
        let variables = json!({
            "workspace": self.ids[&Kind::Workspace], "channel": self.ids[&Kind::Channel],
            "message": self.ids[&Kind::Message],
        });
        self.world.owner.query(document, variables).await.ok()
    }
}

const ENTITY_TYPE: &str = "ticket";
const ENTITY_ID: &str = "T-1";

/// An operation made from the schema.
#[derive(Debug, Clone)]
struct Attempt {
    field: String,
    operation: &'static str,
    document: String,
    variables: Value,
    /// The kinds of the ids in it.
    kinds: BTreeSet<Kind>,
}

impl Attempt {
    fn name(&self) -> String {
        format!("{} {} with {:?}", self.operation, self.field, self.kinds)
    }
}

/// Makes values for arguments.
struct Maker<'a> {
    schema: &'a Introspection,
    target: &'a Target,
    /// What stands for `id` and `ids`.
    any: Kind,
    field: String,
    kinds: BTreeSet<Kind>,
    takes_any: bool,
}

impl Maker<'_> {
    /// A value for what is required, and for every id and every common text beside that.
    fn value(&mut self, name: &str, ty: &Value, is_required: bool) -> Option<Value> {
        match ty["kind"].as_str().unwrap() {
            "NON_NULL" => self.value(name, &ty["ofType"], true),
            "LIST" => {
                // An optional list may be empty, whatever its items must be.
                let item =
                    if ty["ofType"]["kind"] == "NON_NULL" { &ty["ofType"]["ofType"] } else { &ty["ofType"] };
                self.value(name, item, is_required).map(|value| json!([value]))
            }
            "INPUT_OBJECT" if is_required => {
                let fields = list(&self.schema.types[ty["name"].as_str().unwrap()]["inputFields"]);
                let fields =
                    fields.iter().filter(|field| field["defaultValue"].is_null()).filter_map(|field| {
                        let name = field["name"].as_str().unwrap();
                        Some((name.to_owned(), self.value(name, &field["type"], false)?))
                    });
                Some(Value::Object(fields.collect::<Map<_, _>>()))
            }
            "ENUM" if is_required => {
                Some(self.schema.types[ty["name"].as_str().unwrap()]["enumValues"][0]["name"].clone())
            }
            "SCALAR" => self.scalar(name, ty["name"].as_str().unwrap(), is_required),
            _ => None,
        }
    }

    fn scalar(&mut self, name: &str, ty: &str, is_required: bool) -> Option<Value> {
        if ty == "ID" {
            let kinds = kinds_of(&self.field, name);
            let kind = if kinds.len() > 1 { self.any } else { kinds[0] };
            self.takes_any |= kinds.len() > 1;
            self.kinds.insert(kind);
            return Some(self.target.ids[&kind].clone());
        }
        let known = match name {
            "text" => Some(json!("hello")),
            "emoji" => Some(json!("👍")),
            "clientMessageId" => Some(json!(self.target.own_id)),
            "topic" => Some(json!("a topic")),
            "name" => Some(json!(unique("name"))),
            _ => None,
        };
        if known.is_some() || !is_required {
            return known;
        }
        Some(match (ty, name) {
            ("String", "slug") => json!(unique("slug")),
            ("String", "type") => json!(ENTITY_TYPE),
            ("String", "id") => json!(ENTITY_ID),
            ("String", _) => json!("something"),
            ("Int" | "BigInt" | "Float", _) => json!(1),
            ("Boolean", _) => json!(true),
            ("DateTime", _) => json!("2100-01-01T00:00:00.000Z"),
            ("URL", _) => json!("https://example.com"),
            ("JSON", _) => json!({}),
            _ => panic!("teach this test a value of {ty} for {name} of {}", self.field),
        })
    }
}

/// Every root field with every kind of id that it might take.
fn attempts(schema: &Introspection, target: &Target) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for operation in ["query", "mutation", "subscription"] {
        for field in schema.root(operation) {
            for any in KINDS {
                let name = field["name"].as_str().unwrap().to_owned();
                let mut maker = Maker {
                    schema,
                    target,
                    any,
                    field: name.clone(),
                    kinds: BTreeSet::new(),
                    takes_any: false,
                };
                let (mut declared, mut passed, mut variables) = (Vec::new(), Vec::new(), Map::new());
                for argument in list(&field["args"]) {
                    let argument_name = argument["name"].as_str().unwrap();
                    // What has a default is left to it.
                    if !argument["defaultValue"].is_null() {
                        continue;
                    }
                    let Some(value) = maker.value(argument_name, &argument["type"], false) else { continue };
                    declared.push(format!("${argument_name}: {}", type_text(&argument["type"])));
                    passed.push(format!("{argument_name}: ${argument_name}"));
                    variables.insert(argument_name.to_owned(), value);
                }
                let brackets = |list: Vec<String>| {
                    if list.is_empty() { String::new() } else { format!("({})", list.join(", ")) }
                };
                let ty = &schema.types[&inner_name(&field["type"])];
                let is_leaf = matches!(ty["kind"].as_str(), Some("SCALAR" | "ENUM"));
                let document = format!(
                    "{operation}{} {{ {name}{}{} }}",
                    brackets(declared),
                    brackets(passed),
                    if is_leaf { "" } else { " { __typename }" }
                );
                let (kinds, takes_any) = (maker.kinds, maker.takes_any);
                attempts.push(Attempt {
                    field: name,
                    operation,
                    document,
                    variables: Value::Object(variables),
                    kinds,
                });
                if !takes_any {
                    break;
                }
            }
        }
    }
    attempts
}

/// The code of what `client` gets; none for success.
async fn outcome(client: &Client, socket: &Socket, attempt: &Attempt) -> Option<String> {
    let (data, errors) = if attempt.operation == "subscription" {
        let mut stream = socket.subscribe(&attempt.document, attempt.variables.clone());
        match stream.item_within(std::time::Duration::from_millis(1_500)).await {
            Some(Item::Errors(errors)) => (Value::Null, errors),
            _ => return None,
        }
    } else {
        let answer = client.query(&attempt.document, attempt.variables.clone()).await;
        (answer.data, answer.errors)
    };
    let code = errors.first()?["extensions"]["code"].as_str().unwrap_or("none").to_owned();
    let told = &data[&attempt.field];
    let is_nothing = told.is_null() || told.as_array().is_some_and(|list| list.iter().all(Value::is_null));
    assert!(is_nothing, "{}: data beside an error: {data}", attempt.name());
    Some(code)
}

/// Codes by which an operation is refused before it reaches the thing: the insider's attempt must get past them.
fn is_unreached(code: Option<&String>) -> bool {
    matches!(
        code.map(String::as_str),
        Some("NOT_FOUND" | "INVALID" | "BAD_REQUEST" | "UNAUTHENTICATED" | "none")
    )
}

/// Which attempts reach their thing for those who may: each mutation on a target of its own.
async fn reached(mode: Mode, schema: &Introspection) -> BTreeSet<(String, BTreeSet<Kind>)> {
    let mut reached = BTreeSet::new();
    let mut target = Target::new(mode).await;
    let total = attempts(schema, &target).len();
    for index in 0..total {
        let attempt = attempts(schema, &target).swap_remove(index);
        let owner = target.world.owner.clone();
        let code = outcome(&owner, &owner.socket().await, &attempt).await;
        if !is_unreached(code.as_ref()) {
            reached.insert((attempt.field, attempt.kinds));
            if attempt.operation == "mutation" {
                target = Target::new(mode).await;
            }
        }
    }
    reached
}

/// Tries everything that `concerns` as `client`, and fails unless nothing was told and nothing changed.
async fn nothing_for(mode: Mode, outsider: &User, target: &Target, concerns: impl Fn(&Attempt) -> bool) {
    let schema = Introspection::read(outsider).await;
    let reached = reached(mode, &schema).await;
    let before = target.state().await;
    let socket = outsider.socket().await;
    let mut tried = BTreeSet::new();
    for attempt in
        attempts(&schema, target).iter().filter(|attempt| !attempt.kinds.is_empty() && concerns(attempt))
    {
        let code = outcome(outsider, &socket, attempt).await;
        let is_reaching = reached.contains(&(attempt.field.clone(), attempt.kinds.clone()));
        if is_reaching {
            assert_eq!(code.as_deref(), Some("NOT_FOUND"), "{}", attempt.name());
            tried.insert(attempt.field.clone());
        } else {
            // An id of a kind that the field does not take.
            assert!(is_unreached(code.as_ref()), "{}: {code:?}", attempt.name());
        }
    }
    // A field that not even an insider reached was not put to the test.
    let taking_ids: BTreeSet<_> = attempts(&schema, target)
        .into_iter()
        .filter(|attempt| !attempt.kinds.is_empty() && concerns(attempt))
        .map(|attempt| attempt.field)
        .collect();
    let untested: Vec<_> = taking_ids
        .iter()
        .filter(|field| !tried.contains(*field) && reached.iter().all(|(reached, _)| reached != *field))
        .collect();
    assert!(untested.is_empty(), "the attempts made here do not work for insiders either: {untested:?}");
    assert!(tried.len() >= 10, "only {tried:?} was tried");
    assert_eq!(target.state().await, before, "an outsider changed something");
}

async fn strangers_learn_nothing(mode: Mode) {
    let target = Target::new(mode).await;
    let stranger = World::new(mode).await.owner;
    nothing_for(mode, &stranger, &target, |_| true).await;
}

async fn colleagues_learn_nothing_of_private_channels(mode: Mode) {
    let target = Target::new(mode).await;
    let colleague = target.world.member().await;
    // The membership of somebody in a private channel is part of it; people and workspace are known to colleagues.
    let private = [Kind::Channel, Kind::Membership, Kind::Message];
    nothing_for(mode, &colleague, &target, |attempt| attempt.kinds.iter().any(|kind| private.contains(kind)))
        .await;
    // The insider, for comparison.
    let document = "query($id: ID!) { node(id: $id) { id } }";
    target.peer.query(document, json!({ "id": target.ids[&Kind::Message] })).await.ok();
}

async fn without_credentials_there_is_nothing(mode: Mode) {
    let target = Target::new(mode).await;
    let anonymous = target.world.server.anonymous();
    let schema = Introspection::read(&anonymous).await;
    let before = target.state().await;
    let socket = Socket::open(&anonymous).await;
    for attempt in attempts(&schema, &target) {
        let code = outcome(&anonymous, &socket, &attempt).await;
        if OPEN_TO_ALL.contains(&attempt.field.as_str()) {
            continue;
        }
        assert_eq!(code.as_deref(), Some("UNAUTHENTICATED"), "{}", attempt.name());
    }
    assert_eq!(target.state().await, before);
    let data = anonymous.query("{ viewer { email } }", json!({})).await;
    assert_eq!(data.data["viewer"], Value::Null);
}

async fn a_slug_tells_strangers_nothing(mode: Mode) {
    let target = World::new(mode).await;
    let stranger = World::new(mode).await.owner;
    let document = "query($slug: String!) { workspace(slug: $slug) { id } }";
    let theirs = stranger.query(document, json!({ "slug": target.slug })).await;
    let nobodys = stranger.query(document, json!({ "slug": unique("nothing") })).await;
    assert_eq!((theirs.code().as_str(), nobodys.code().as_str()), ("NOT_FOUND", "NOT_FOUND"));
    assert_eq!(theirs.errors[0]["message"], nobodys.errors[0]["message"]);
}
