//! The workspace to look at.

use serde_json::{Value, json};

use crate::support::{Mode, Server, User, both_modes, run};

both_modes!(the_demo_is_filled_once_and_opens_with_its_login);

/// The address and the password out of the line that tells them.
fn login(text: &str) -> Option<(String, String)> {
    let (_, rest) = text.split_once("sign in as ")?;
    let (email, rest) = rest.split_once(" with the password ")?;
    Some((email.to_owned(), rest.split_whitespace().next()?.to_owned()))
}

async fn read(user: &User) -> Value {
    let document = "{ workspace(slug: \"demo\") { memberCount channelCount
        channels(first: 50) { nodes { id name memberCount messages(last: 100) { nodes { id seq text } } } }
    } }";
    user.query(document, json!({})).await.ok()["workspace"].take()
}

async fn the_demo_is_filled_once_and_opens_with_its_login(mode: Mode) {
    let server = Server::own(mode).await;
    // Where others may reach the server it is made on request only.
    assert_eq!(login(&server.log()).is_some(), mode == Mode::Embedded);
    let (printed, _) = run(server.stores(), &["demo"]).await;
    let (email, password) = login(&printed).unwrap_or_else(|| panic!("no login in {printed:?}"));
    let user = User::sign_in(&server, &email, &password).await;
    let first = read(&user).await;
    let channels = first["channels"]["nodes"].as_array().unwrap();
    assert!(channels.len() >= 3 && first["memberCount"].as_i64() >= Some(3), "hardly anything: {first}");
    assert!(channels.iter().any(|channel| channel["messages"]["nodes"].as_array().unwrap().len() >= 10));
    let (again, _) = run(server.stores(), &["demo"]).await;
    assert_eq!(again, printed);
    assert_eq!(read(&user).await, first, "filled twice");
    user.send(channels[0]["id"].as_str().unwrap(), "hello").await;
}
