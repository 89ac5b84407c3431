//! Histories from elsewhere.

use serde_json::{Value, json};

use crate::support::{Mode, Server, User, both_modes, run, unique};

both_modes!(a_history_with_broken_lines_goes_in_once);

/// Twelve good lines in two excerpts, and four broken ones.
fn lines(excerpts: [&str; 2]) -> String {
    let mut lines = Vec::new();
    for excerpt in excerpts {
        let line = |number: usize, kind: &str, user: &str, text: Option<&str>, reply_to: Option<usize>| {
            let mut line = json!({
                "id": format!("{excerpt}:{number}"), "channel": "ubuntu", "kind": kind, "user": user,
                "at": format!("2004-12-25T09:{number:02}:00Z"),
            });
            if let Some(text) = text {
                line["text"] = json!(text);
            }
            if let Some(number) = reply_to {
                line["reply_to"] = json!(format!("{excerpt}:{number}"));
            }
            line.to_string()
        };
        lines.extend([
            line(0, "join", "alice", None, None),
            line(1, "message", "alice", Some("hello \u{3}\u{1f44b} w\u{f6}rld"), None),
            line(2, "message", "Bob_", Some("alice: hi"), Some(1)),
            line(3, "action", "alice", Some("waves"), None),
            "{ no json".to_owned(),
            line(4, "message", "carol", Some(""), None),
            line(5, "message", "alice", Some("bye"), Some(2)),
            json!({ "id": format!("{excerpt}:6"), "kind": "message", "user": "dave", "text": "no time" })
                .to_string(),
            line(7, "leave", "alice", None, None),
        ]);
    }
    lines.join("\n")
}

async fn a_history_with_broken_lines_goes_in_once(mode: Mode) {
    let server = Server::own(mode).await;
    let owner = User::register(&server).await;
    let excerpts = [unique("first"), unique("second")];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.jsonl");
    std::fs::write(&file, lines([&excerpts[0], &excerpts[1]])).unwrap();
    let slug = unique("imported");
    let arguments = ["import", file.to_str().unwrap(), "--workspace", &slug, "--owner", &owner.email];

    let (_, report) = run(server.stores(), &arguments).await;
    for line in ["line 5", "line 8", "line 14", "line 17"] {
        assert!(report.contains(line), "the broken {line} is not reported:\n{report}");
    }
    let first = histories(&owner, &slug).await;
    assert_eq!(first.len(), 2);
    for (name, messages) in &first {
        assert!(excerpts.contains(name), "an unexpected channel {name}");
        let told: Vec<_> = messages
            .iter()
            .map(|message| {
                let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
                (text(&message["author"]["displayName"]), text(&message["kind"]), text(&message["text"]))
            })
            .collect();
        let expected = [
            ("alice", "TEXT", "hello \u{3}\u{1f44b} w\u{f6}rld"),
            ("Bob_", "TEXT", "alice: hi"),
            ("alice", "ACTION", "waves"),
            ("carol", "TEXT", ""),
            ("alice", "TEXT", "bye"),
        ];
        let expected = expected.map(|(user, kind, text)| (user.to_owned(), kind.to_owned(), text.to_owned()));
        assert_eq!(told, expected);
        assert_eq!(messages[0]["createdAt"], "2004-12-25T09:01:00.000Z");
        assert_eq!(messages[1]["mentions"][0]["id"], messages[0]["author"]["id"]);
        assert_eq!(messages[1]["replyTo"]["id"], messages[0]["id"]);
        assert_eq!(messages[4]["replyTo"]["id"], messages[1]["id"]);
        let ticks: Vec<_> = messages.iter().map(|message| message["ts"].as_i64().unwrap()).collect();
        assert!(ticks.is_sorted(), "the order of the file is not the order of history");
    }
    // Once more changes nothing.
    run(server.stores(), &arguments).await;
    assert_eq!(histories(&owner, &slug).await, first);
    // Imported channels go on like any other.
    let document = "query($slug: String!) { workspace(slug: $slug) { memberCount
        channels(first: 100) { nodes { id name messageCount } }
    } }";
    let data = owner.query(document, json!({ "slug": slug })).await.ok();
    assert!(data["workspace"]["memberCount"].as_i64() >= Some(4));
    let channels = data["workspace"]["channels"]["nodes"].as_array().unwrap();
    let channel = channels.iter().find(|channel| channel["name"] == excerpts[0]).unwrap();
    let id = channel["id"].as_str().unwrap();
    owner
        .query("mutation($id: ID!) { joinChannel(id: $id) { membership { id } } }", json!({ "id": id }))
        .await
        .ok();
    owner.send(id, "welcome").await;
    assert_eq!(owner.texts(id).await.last().unwrap(), "welcome");
}

/// The imported channels by name, with what people wrote there.
async fn histories(user: &User, slug: &str) -> Vec<(String, Vec<Value>)> {
    let document = "query($slug: String!) { workspace(slug: $slug) { channels(first: 10) { nodes {
        name isGeneral messages(first: 100) { nodes {
            id ts seq kind text createdAt author { displayName id } mentions { id } replyTo { id } threadRoot { id }
        } }
    } } } }";
    let data = user.query(document, json!({ "slug": slug })).await.ok();
    let channels = data["workspace"]["channels"]["nodes"].as_array().unwrap().iter();
    channels
        .filter(|channel| channel["isGeneral"] != true)
        .map(|channel| {
            let messages = channel["messages"]["nodes"].as_array().unwrap().iter();
            let written = messages.filter(|message| message["kind"] != "SYSTEM").cloned().collect();
            (channel["name"].as_str().unwrap().to_owned(), written)
        })
        .collect()
}
