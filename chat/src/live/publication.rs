//! What the nodes tell each other of a changed message: all of it where it is small, and else only its tick, for the others
//! to read it from the store. A message with thousands of reactions changes with each of them, and would keep Redis and
//! every node busy with hundreds of kilobytes a time.

use std::io::{self, Write};

use crate::{live::topic::Raw, messages::model::Message};

/// The largest message that is passed on, in bytes of JSON.
const LARGEST: usize = 64 * 1_024;

/// Gives up when it gets too long.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The message as JSON, or its tick as a JSON number.
pub(super) fn write(message: &Message) -> Vec<u8> {
    let mut limited = Limited(Vec::with_capacity(1_024));
    match serde_json::to_writer(&mut limited, message) {
        Ok(()) => limited.0,
        Err(_) => message.seq.to_string().into_bytes(),
    }
}

/// What another node wrote. One of another version may write what this one cannot read; the store has it in a form that
/// both know.
pub(super) fn read(payload: &[u8]) -> Raw {
    if payload.first().is_some_and(u8::is_ascii_digit) {
        return serde_json::from_slice(payload).map_or(Raw::Check, Raw::Reached);
    }
    match serde_json::from_slice::<Message>(payload) {
        Ok(message) => Raw::Changed(message.into()),
        Err(error) => {
            tracing::warn!(%error, "a publication could not be read");
            Raw::Check
        }
    }
}
