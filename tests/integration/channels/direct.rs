//! Conversations between fixed people: one for each set of them.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{add, leave, try_send};
use crate::support::{Answer, Mode, User, World, both_modes};

both_modes!(fifty_opened_direct_channels_are_one, group_channels_go_by_their_people);

async fn open_direct(world: &World, by: &User, users: &[&User]) -> Answer {
    let document = "mutation($workspace: ID!, $users: [ID!]!) {
        openDirectChannel(workspaceId: $workspace, userIds: $users) {
            created channel { id type name displayName isPrivate memberCount }
        }
    }";
    let users: Vec<_> = users.iter().map(|user| &user.id).collect();
    by.query(document, json!({ "workspace": world.workspace, "users": users })).await
}

async fn fifty_opened_direct_channels_are_one(mode: Mode) {
    let world = World::new(mode).await;
    let (one, two) = (world.member().await, world.member().await);
    let opening = (0..50).map(|turn| {
        let (world, by, with) = if turn % 2 == 0 { (&world, &one, &two) } else { (&world, &two, &one) };
        async move { open_direct(world, by, &[with]).await }
    });
    let payloads: Vec<_> =
        join_all(opening).await.into_iter().map(|answer| answer.ok()["openDirectChannel"].take()).collect();
    let ids: HashSet<_> = payloads.iter().map(|payload| payload["channel"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(payloads.iter().filter(|payload| payload["created"] == true).count(), 1);
    let channel = &payloads[0]["channel"];
    assert_eq!(
        (&channel["type"], &channel["name"], &channel["memberCount"]),
        (&json!("DIRECT"), &Value::Null, &json!(2))
    );
    assert_eq!(channel["displayName"], two.name);
    let id = channel["id"].as_str().unwrap();
    one.send(id, "hello").await;
    assert_eq!(two.texts(id).await, ["hello"]);
    assert_eq!(
        try_send(&world.owner, id).await.code(),
        "NOT_FOUND",
        "an admin reads other people's conversations"
    );
    assert_eq!(leave(&one, id).await.code(), "FORBIDDEN");
    assert_eq!(add(&one, id, &[&world.owner]).await.code(), "FORBIDDEN");
}

async fn group_channels_go_by_their_people(mode: Mode) {
    let world = World::new(mode).await;
    let (one, two) = (world.member().await, world.member().await);
    let first = open_direct(&world, &world.owner, &[&one, &two]).await.ok();
    let again = open_direct(&world, &two, &[&world.owner, &one]).await.ok();
    let (first, again) = (&first["openDirectChannel"], &again["openDirectChannel"]);
    assert_eq!(
        (&first["channel"]["type"], &first["channel"]["memberCount"]),
        (&json!("GROUP_DIRECT"), &json!(3))
    );
    assert_eq!((&first["created"], &again["created"]), (&json!(true), &json!(false)));
    assert_eq!(first["channel"]["id"], again["channel"]["id"]);
    let pair = open_direct(&world, &world.owner, &[&one]).await.ok();
    assert_ne!(pair["openDirectChannel"]["channel"]["id"], first["channel"]["id"]);
    let stranger = World::new(mode).await.owner;
    assert_eq!(open_direct(&world, &world.owner, &[&stranger]).await.code(), "NOT_FOUND");
    assert_eq!(open_direct(&world, &world.owner, &[]).await.code(), "INVALID");
}
