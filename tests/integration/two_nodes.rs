//! Several servers on the same stores.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    live::follow,
    presence,
    support::{Mode, SOON, Server, Stores, Stream, User, World, client_message_id, eventually, servers_only},
};

servers_only!(
    what_is_sent_on_one_arrives_on_the_other,
    two_hundred_sends_of_one_client_id_are_one_message,
    twenty_thousand_sends_keep_one_order,
    a_killed_server_loses_nothing_acknowledged,
    sessions_and_typing_cross_over,
    a_killed_server_leaves_no_ghosts,
    presence_comes_back_after_a_flush,
);

async fn two_nodes(mode: Mode) -> [Server; 2] {
    let stores = Stores::new(mode).await;
    let first = Server::start(&stores).await;
    [first, Server::start(&stores).await]
}

async fn try_send(user: &User, channel: &str, own_id: &str, text: &str) -> Result<Value, String> {
    let document = "mutation($input: SendMessageInput!) {
        sendMessage(input: $input) { message { id seq } deduplicated }
    }";
    let input = json!({ "channelId": channel, "clientMessageId": own_id, "text": text });
    match user.try_query(document, json!({ "input": input })).await {
        Err(error) => Err(error.to_string()),
        Ok(answer) if answer.errors.is_empty() => Ok(answer.data["sendMessage"].clone()),
        Ok(answer) => Err(format!("{:?}", answer.errors)),
    }
}

/// The ticks and ids of creations, until there are `count` of them.
async fn created(stream: &mut Stream, count: usize) -> Vec<(i64, String)> {
    let mut seen = Vec::with_capacity(count);
    while seen.len() < count {
        let item = stream.value().await;
        if item["event"]["__typename"] == "MessageCreated" {
            let id = item["event"]["message"]["id"].as_str().unwrap().to_owned();
            seen.push((item["seq"].as_i64().unwrap(), id));
        }
    }
    seen
}

async fn what_is_sent_on_one_arrives_on_the_other(mode: Mode) {
    let [a, b] = two_nodes(mode).await;
    let world = World::on(&a).await;
    let member = world.member().await.at(&b);
    let channel = world.channel(&[&member]).await;
    let socket = member.socket().await;
    let mut stream = follow(&socket, &member, &channel).await;
    for turn in 0..20 {
        let sent = world.owner.send(&channel, &turn.to_string()).await;
        let seen = created(&mut stream, 1).await;
        assert_eq!(sent["id"], seen[0].1);
    }
    // Both write by turns; neither has to wait for the other.
    for turn in 0..20 {
        let sender = if turn % 2 == 0 { &world.owner } else { &member };
        sender.send(&channel, &turn.to_string()).await;
    }
    assert!(created(&mut stream, 20).await.is_sorted());
    assert_eq!(world.owner.history(&channel).await, world.owner.at(&b).history(&channel).await);
}

async fn two_hundred_sends_of_one_client_id_are_one_message(mode: Mode) {
    let [a, b] = two_nodes(mode).await;
    let world = World::on(&a).await;
    let channel = world.channel(&[]).await;
    let users = [world.owner.clone(), world.owner.at(&b)];
    let own_id = client_message_id();
    let answers = join_all((0..200).map(|turn| try_send(&users[turn % 2], &channel, &own_id, "once"))).await;
    let payloads: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let ids: HashSet<_> = payloads.iter().map(|payload| payload["message"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(payloads.iter().filter(|payload| payload["deduplicated"] == false).count(), 1);
    for user in &users {
        assert_eq!(user.texts(&channel).await, ["once"]);
    }
}

async fn twenty_thousand_sends_keep_one_order(mode: Mode) {
    const CHANNELS: usize = 5;
    const CLIENTS: usize = 64;
    const SENDS: usize = 20_000;
    let [a, b] = two_nodes(mode).await;
    let world = World::on(&a).await;
    let channels = join_all((0..CHANNELS).map(|_| world.channel(&[]))).await;
    let nodes = [world.owner.clone(), world.owner.at(&b)];
    let sockets = [nodes[0].socket().await, nodes[1].socket().await];
    let mut streams = Vec::new();
    for channel in &channels {
        for (socket, user) in sockets.iter().zip(&nodes) {
            streams.push((channel.clone(), follow(socket, user, channel).await));
        }
    }
    let next = Arc::new(AtomicUsize::new(0));
    let sent: Arc<Mutex<HashMap<String, HashSet<String>>>> = Arc::default();
    let clients = (0..CLIENTS).map(|client| {
        let (user, channels) = (nodes[client % 2].clone(), channels.clone());
        let (next, sent) = (Arc::clone(&next), Arc::clone(&sent));
        tokio::spawn(async move {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= SENDS {
                    return;
                }
                let channel = &channels[turn % CHANNELS];
                let payload =
                    try_send(&user, channel, &client_message_id(), &turn.to_string()).await.unwrap();
                let id = payload["message"]["id"].as_str().unwrap().to_owned();
                assert!(
                    sent.lock().unwrap().entry(channel.clone()).or_default().insert(id),
                    "an id came twice"
                );
            }
        })
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
    let mut told: HashMap<String, Vec<Vec<(i64, String)>>> = HashMap::new();
    for (channel, mut stream) in streams {
        told.entry(channel).or_default().push(created(&mut stream, SENDS / CHANNELS).await);
    }
    for channel in &channels {
        let histories = join_all(nodes.iter().map(|user| user.history(channel))).await;
        assert_eq!(histories[0], histories[1], "the nodes tell different histories");
        let ticks: Vec<_> = histories[0].iter().map(|message| message["seq"].as_i64().unwrap()).collect();
        let last = i64::try_from(ticks.len()).unwrap();
        assert_eq!(ticks, (1..=last).collect::<Vec<_>>(), "ticks are not dense from 1");
        let ids: HashSet<String> = histories[0]
            .iter()
            .filter(|message| message["kind"] != "SYSTEM")
            .map(|message| message["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, sent.lock().unwrap()[channel]);
        let told = &told[channel];
        assert!(told[0] == told[1], "the nodes tell their listeners different things");
        let first = told[0][0].0;
        assert!(told[0].iter().zip(first..).all(|((tick, _), expected)| *tick == expected), "a gap was told");
    }
}

async fn a_killed_server_loses_nothing_acknowledged(mode: Mode) {
    const CLIENTS: usize = 16;
    const EACH: usize = 60;
    let seed: u64 =
        std::env::var("QUIKAPP_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("a_killed_server_loses_nothing_acknowledged: QUIKAPP_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let kill_at = random.random_range(50..CLIENTS * EACH / 2);

    let stores = Stores::new(mode).await;
    let (a, b) = (Server::start(&stores).await, Server::start(&stores).await);
    let world = World::on(&a).await;
    let channels = [world.channel(&[]).await, world.channel(&[]).await];
    let socket = world.owner.socket().await;
    let mut streams = Vec::new();
    for channel in &channels {
        streams.push(follow(&socket, &world.owner, channel).await);
    }
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let clients = (0..CLIENTS).map(|client| {
        let nodes = [world.owner.clone(), world.owner.at(&b)];
        let (b, channel) = (b.clone(), channels[client / 2 % 2].clone());
        let acknowledged = Arc::clone(&acknowledged);
        tokio::spawn(async move {
            let mut sent = Vec::new();
            for turn in 0..EACH {
                let (own_id, text) = (client_message_id(), format!("{client} {turn}"));
                // After a lost answer the same id goes to the other node: it finds out whether it was written.
                let payload = match try_send(&nodes[client % 2], &channel, &own_id, &text).await {
                    Ok(payload) => payload,
                    Err(_) => try_send(&nodes[0], &channel, &own_id, &text).await.unwrap(),
                };
                sent.push((channel.clone(), payload["message"]["id"].as_str().unwrap().to_owned(), text));
                if acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == kill_at {
                    b.kill();
                }
            }
            sent
        })
    });
    let sent: Vec<_> = join_all(clients).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(sent.len(), CLIENTS * EACH);

    let again = Server::start(&stores).await;
    for (channel, stream) in channels.iter().zip(&mut streams) {
        let history = world.owner.history(channel).await;
        assert_eq!(history, world.owner.at(&again).history(channel).await, "seed {seed}");
        let ticks: Vec<_> = history.iter().map(|message| message["seq"].as_i64().unwrap()).collect();
        assert!(
            ticks.iter().zip(1..).all(|(tick, expected)| *tick == expected),
            "seed {seed}: ticks have a gap"
        );
        let texts: HashMap<_, _> =
            history.iter().map(|message| (message["id"].as_str().unwrap(), &message["text"])).collect();
        let of_channel: Vec<_> = sent.iter().filter(|(of, ..)| of == channel).collect();
        for (_, id, text) in &of_channel {
            assert_eq!(
                texts.get(id.as_str()),
                Some(&&json!(text)),
                "seed {seed}: an acknowledged message is lost"
            );
        }
        let written = history.iter().filter(|message| message["kind"] != "SYSTEM").count();
        assert_eq!(written, of_channel.len(), "seed {seed}: a message is there twice");
        let told = created(stream, written).await;
        assert!(told.is_sorted() && told.iter().collect::<HashSet<_>>().len() == written);
    }
}

async fn sessions_and_typing_cross_over(mode: Mode) {
    let [a, b] = two_nodes(mode).await;
    let world = World::on(&a).await;
    let member = world.member().await.at(&b);
    let channel = world.channel(&[&member]).await;
    let socket = member.socket().await;
    let document = "subscription($id: ID!) { typingChanged(channelId: $id) { users { id } } }";
    let mut stream = socket.subscribe(document, json!({ "id": channel }));
    world
        .owner
        .query("mutation($id: ID!) { setTyping(channelId: $id) { expiresAt } }", json!({ "id": channel }))
        .await
        .ok();
    let typist = json!([{ "id": world.owner.id }]);
    stream.find("typing", |item| (item["users"] == typist).then_some(())).await;
    world.owner.send(&channel, "done").await;
    stream.find("the end of typing", |item| (item["users"] == json!([])).then_some(())).await;

    let document = "query($id: ID!) { user(id: $id) { presence { status } } }";
    let here = |wanted: &'static str| {
        let (asker, id) = (world.owner.clone(), member.id.clone());
        async move {
            let data = asker.query(document, json!({ "id": id })).await.ok();
            (data["user"]["presence"]["status"] == wanted).then_some(())
        }
    };
    eventually("ONLINE over the other node", SOON, || here("ONLINE")).await;

    // A session that is revoked on one node ends on the other within a second or so.
    let document = "mutation($id: ID!) { revokeSession(id: $id) { sessionId } }";
    let other = User::sign_in(&a, &member.email, &member.password).await;
    other.query(document, json!({ "id": member.session })).await.ok();
    assert_eq!(socket.closed().await, 4403);
    eventually("the revoked token to fail", Duration::from_secs(5), || async {
        let answer = member.query("{ viewer { email } }", json!({})).await;
        answer.codes().contains(&"UNAUTHENTICATED".to_owned()).then_some(())
    })
    .await;
}

async fn a_killed_server_leaves_no_ghosts(mode: Mode) {
    let [a, b] = presence::nodes(mode).await;
    let world = World::on(&a).await;
    let (member, other) = (world.member().await, world.member().await);
    let channel = world.channel(&[&member, &other]).await;
    let watcher = world.owner.socket().await;
    let mut stream = presence::watch(&watcher, &world.owner, &[&member, &other]).await;
    let _sockets = [member.at(&b).socket().await, other.at(&b).socket().await, other.socket().await];
    presence::told(&mut stream, &member, "ONLINE").await;
    presence::counted(&world.owner, &world, &channel, (3, 3)).await;
    b.kill();
    // Its silence is told though nobody says anything; whom another node holds stays.
    let others = presence::told(&mut stream, &member, "OFFLINE").await;
    assert!(others.iter().all(|one| one["status"] != "OFFLINE"), "told of others: {others:?}");
    presence::counted(&world.owner, &world, &channel, (2, 2)).await;
    assert_eq!(presence::presence(&world.owner, &other).await["status"], "ONLINE");
}

async fn presence_comes_back_after_a_flush(mode: Mode) {
    let [a, b] = presence::nodes(mode).await;
    let world = World::on(&a).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let _sockets = [world.owner.socket().await, member.at(&b).socket().await];
    presence::counted(&world.owner, &world, &channel, (2, 2)).await;
    let seen = eventually("a last sight", SOON, || async {
        let seen = presence::presence(&world.owner, &member).await["lastSeenAt"].take();
        seen.is_string().then_some(seen)
    })
    .await;
    a.stores().flush_redis().await;
    assert_eq!(presence::presence(&world.owner, &member).await["lastSeenAt"], seen);
    // The next heartbeats bring it back.
    presence::counted(&world.owner, &world, &channel, (2, 2)).await;
    presence::seen_as(&world.owner, &member, "ONLINE").await;
}
