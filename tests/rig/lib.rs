//! The rig: everything a black-box test of Tollgate stands on.
//!
//! In: a decK file and a scenario. Out: the built programs and their peers running on free loopback ports, and the
//! exact bytes that crossed every socket. Whatever a value of this crate started, dropping it ends, by process group.
//! Deliberately absent: any HTTP library. A rig that parsed like the gateway would share its mistakes.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the rig is ordinary blocking code on its own threads, not the data path"
)]

mod admin;
pub mod attacks;
mod certificate;
mod client;
mod curl;
mod dns;
mod frames;
mod gateway;
mod grpc;
mod llm;
mod nginx;
mod openai;
mod openssl;
mod origin;
mod process;
mod python;
mod raw;
mod scratch;
mod script;
mod websockets;
mod wire;

pub use admin::Admin;
pub use certificate::{Authority, Certificate};
pub use client::{Client, Stream};
pub use curl::Curl;
pub use dns::{Asked, Data, Dns, Reply};
pub use frames::{Frame, Frames};
pub use gateway::{Driver, Gateway, GatewayBuilder};
pub use grpc::Grpc;
pub use llm::{Bill, Call, End, Llm, Scenario, Split, UsageReport};
pub use nginx::Nginx;
pub use openai::OpenAi;
pub use openssl::OpenSsl;
pub use origin::{Origin, Recorded};
pub use process::{Process, is_root, program};
pub use raw::{Raw, patient, read_head};
pub use scratch::Scratch;
pub use script::{Script, Step};
pub use websockets::{WebSocketClients, WebSocketServer};
pub use wire::{Body, Framing, Head, Headers, Reader, Response};
