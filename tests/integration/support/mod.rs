//! What tests are made of: real servers, clients of them, and workspaces with people in them.

mod client;
pub(crate) mod introspection;
mod names;
pub(crate) mod raw;
mod server;
mod socket;
mod stores;
mod suite;
mod wait;
mod world;

pub(crate) use client::{Answer, Client};
pub(crate) use names::{client_message_id, email, unique};
pub(crate) use server::{Program, Server, run};
pub(crate) use socket::{Item, Socket, Stream, first_field};
pub(crate) use stores::{ServerSet, Stores};
pub(crate) use suite::{Mode, Skip, Suite, both_modes, servers_only};
pub(crate) use wait::{SOON, eventually};
pub(crate) use world::{User, World};
