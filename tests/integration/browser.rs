//! The explorer in a real browser.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Mode, SOON, Skip, World, both_modes, eventually};

both_modes!(the_explorer_signs_in_asks_and_follows);

/// A running browser, driven over `WebDriver`.
struct Browser {
    http: reqwest::Client,
    session: String,
    driver: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn find(names: &[&str]) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let candidates =
        std::env::split_paths(&path).flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    candidates.into_iter().find(|file| file.is_file()).map(|file| file.display().to_string())
}

impl Browser {
    /// Starts one; none where there is no browser to drive.
    async fn start() -> Option<Self> {
        let program = find(&["chromium", "chromium-browser", "google-chrome"])?;
        let driver = find(&["chromedriver"])?;
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = eventually("chromedriver's start", SOON, || async {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let (_, rest) = text.split_once("successfully on port ")?;
            rest.split_once('.').map(|(port, _)| port.to_owned())
        })
        .await;
        let http = reqwest::Client::builder().timeout(Duration::from_mins(2)).no_proxy().build().unwrap();
        let profile = folder.path().join("profile");
        let arguments = json!([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1400,900",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            format!("--user-data-dir={}", profile.display()),
        ]);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": { "binary": program, "args": arguments },
            "timeouts": { "script": 60_000, "pageLoad": 60_000 },
        } } });
        let mut browser = Self { http, session: String::new(), driver, _folder: folder };
        let address = format!("http://127.0.0.1:{port}/session");
        let answer = browser.call(reqwest::Method::POST, &address, &wanted).await;
        let id = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        browser.session = format!("{address}/{id}");
        Some(browser)
    }

    async fn call(&self, method: reqwest::Method, address: &str, body: &Value) -> Value {
        let mut request = self.http.request(method.clone(), address);
        if method == reqwest::Method::POST {
            request = request.json(body);
        }
        let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer["value"]["error"].is_null(), "{address} {body}: {answer}");
        answer["value"].take()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(reqwest::Method::POST, &format!("{}/{path}", self.session), &body).await
    }

    async fn open(&self, address: &str) {
        self.post("url", json!({ "url": address })).await;
    }

    /// What a script returns.
    async fn script(&self, script: &str, arguments: Value) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": arguments })).await
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.post("element", json!({ "using": "css selector", "value": selector })).await;
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/value"), json!({ "text": text })).await;
    }

    async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/click"), json!({})).await;
    }

    /// Waits until `script` returns something true; gives it.
    async fn until(&self, what: &str, script: &str) -> Value {
        let found = eventually(what, SOON * 3, || async {
            let value = self.script(script, json!([])).await;
            let is_true = !matches!(value, Value::Null | Value::Bool(false)) && value != "";
            is_true.then_some(value)
        });
        found.await
    }

    /// Opens the explorer and waits until it can be used.
    async fn open_explorer(&self, address: &str) {
        self.open(address).await;
        let ready = "return document.querySelector('#graphiql[data-editors=\"ready\"][data-schema=\"loaded\"]') !== null";
        self.until("the editors and the schema", ready).await;
    }

    /// Signs in with the form at the top.
    async fn sign_in(&self, email: &str, password: &str) {
        self.type_into("#email", email).await;
        self.type_into("#password", password).await;
        self.click("#sign-in").await;
        let signed_in =
            "return document.querySelector('#sign-in-status').textContent.startsWith('Signed in')";
        self.until("Signed in", signed_in).await;
    }

    /// The response pane, as soon as it holds `text`.
    async fn response_with(&self, text: &str) -> Value {
        let script = format!(
            "const text = window.quikapp.getResponse(); return text.includes({}) ? text : null",
            json!(text)
        );
        let response = self.until(&format!("{text} in the response"), &script).await;
        serde_json::from_str(response.as_str().unwrap()).unwrap()
    }

    /// Writes an operation into the editors and runs it with the button.
    async fn run(&self, document: &str, variables: &Value) {
        let script = "window.quikapp.setQuery(arguments[0]); window.quikapp.setVariables(arguments[1]);";
        self.script(script, json!([document, variables.to_string()])).await;
        // GraphiQL reads the editors some time after they changed; what the button runs is what they hold then.
        let settled = format!("return window.quikapp.getQuery() === {}", json!(document));
        self.until("the query in the editor", &settled).await;
        self.click("button.graphiql-execute-button").await;
    }

    async fn screenshot(&self, file: &Path) {
        let picture =
            self.call(reqwest::Method::GET, &format!("{}/screenshot", self.session), &Value::Null).await;
        let script = "return Array.from(atob(arguments[0]), (c) => c.charCodeAt(0))";
        let bytes: Vec<u8> = serde_json::from_value(self.script(script, json!([picture])).await).unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}

async fn the_explorer_signs_in_asks_and_follows(mode: Mode) {
    let Some(browser) = Browser::start().await else {
        println!("skipped: chromium and chromedriver are needed to drive the explorer");
        std::panic::panic_any(Skip);
    };
    let world = World::new(mode).await;
    let server = &world.server;
    let page = reqwest::Url::parse_with_params(
        &format!("http://{}/graphiql", server.address()),
        [("query", "{ viewer { email } }"), ("variables", "{}")],
    );
    let page = page.unwrap();
    if mode == Mode::Embedded {
        // What a newcomer does, with the login that the start-up lines tell.
        browser.open_explorer(page.as_str()).await;
        browser.sign_in("demo@quikapp.example", "quikapp-demo").await;
        browser.click("button.graphiql-execute-button").await;
        browser.response_with("demo@quikapp.example").await;
    }
    browser.open_explorer(page.as_str()).await;
    assert_eq!(browser.script("return window.quikapp.getQuery()", json!([])).await, "{ viewer { email } }");

    browser.sign_in(&world.owner.email, &world.owner.password).await;
    browser.click("button.graphiql-execute-button").await;
    let response = browser.response_with(&world.owner.email).await;
    assert_eq!(response["data"]["viewer"]["email"], world.owner.email);

    let document = "mutation($channel: ID!) { sendMessage(input: {
        channelId: $channel, clientMessageId: \"from-the-browser\", text: \"typed in GraphiQL\"
    }) { message { text } } }";
    browser.run(document, &json!({ "channel": world.general })).await;
    browser.response_with("typed in GraphiQL").await;
    assert_eq!(world.owner.texts(&world.general).await, ["typed in GraphiQL"]);

    let document =
        "subscription($channel: ID!) { messageAdded(channelId: $channel) { text author { displayName } } }";
    browser.run(document, &json!({ "channel": world.general })).await;
    // The page does not show when a subscription begins; what is sent until then is not part of it.
    let listening = eventually("the subscription's first item", SOON, || async {
        world.owner.send(&world.general, "probe").await;
        let text = browser.script("return window.quikapp.getResponse()", json!([])).await;
        text.as_str().is_some_and(|text| text.contains("probe")).then_some(())
    });
    listening.await;
    world.owner.send(&world.general, "sent over HTTP").await;
    let response = browser.response_with("sent over HTTP").await;
    let message = json!({ "text": "sent over HTTP", "author": { "displayName": world.owner.name } });
    assert_eq!(response["data"]["messageAdded"], message);
    let file = format!("target/tmp/graphiql-{}.png", mode.name());
    browser.screenshot(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).await;
    let _ = browser.call(reqwest::Method::DELETE, &browser.session, &Value::Null).await;
}
