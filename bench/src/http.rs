//! The least that an HTTP client can do: one kept-alive connection, one request at a time, no parsing beyond the length.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::failure::{Failure, Result};

/// A kept-alive connection of one user.
pub(crate) struct Http {
    stream: TcpStream,
    head: String,
    buffer: Vec<u8>,
}

impl Http {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr, token: Option<&str>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let authorization = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             accept: application/graphql-response+json\r\n{authorization}content-length: "
        );
        Ok(Self { stream, head, buffer: Vec::with_capacity(32 * 1024) })
    }

    /// Sends a body and gives that of the answer. Fails unless the status is 200.
    pub(crate) async fn post(&mut self, body: &str) -> Result<&[u8]> {
        let request = format!("{}{}\r\n\r\n{body}", self.head, body.len());
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Failure::new("the server closed a connection in the middle of a request"));
            }
            if let Some((start, length)) = parse(&self.buffer)? {
                while self.buffer.len() < start + length {
                    if self.stream.read_buf(&mut self.buffer).await? == 0 {
                        return Err(Failure::new(
                            "the server closed a connection in the middle of an answer",
                        ));
                    }
                }
                return Ok(&self.buffer[start..start + length]);
            }
        }
    }

    /// Runs an operation, which has to succeed, and gives its `data`. For preparations; nothing here is cheap.
    pub(crate) async fn query(&mut self, document: &str, variables: Value) -> Result<Value> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let mut answer: Value = serde_json::from_slice(self.post(&body).await?)?;
        if answer["errors"].is_array() {
            return Err(Failure::new(format!("{document}: {}", answer["errors"])));
        }
        Ok(answer["data"].take())
    }
}

/// Where the body begins and its length; none while the head is not complete.
fn parse(answer: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(answer)? else { return Ok(None) };
    if response.code != Some(200) {
        return Err(Failure::new(format!("the server answers: {}", String::from_utf8_lossy(answer))));
    }
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
        .ok_or_else(|| Failure::new("an answer has no content-length"))?;
    Ok(Some((start, length)))
}
