//! The map of the gateway. One request walks these rooms in this order; see ARCHITECTURE.md.
//!
//! Connections that are no requests go to `stream` instead. Only `worker` names the runtime. `exchange` may use every room; no room uses `exchange`.

pub mod admin;
pub mod ai;
pub mod confine;
pub mod control;
pub mod crowd;
pub mod downstream;
pub mod edit;
pub mod exchange;
pub mod http;
pub mod limits;
pub mod memory;
pub mod multiplex;
pub mod node;
pub mod overload;
pub mod quota;
pub mod settable;
pub mod snapshot;
pub mod stream;
pub mod telemetry;
pub mod tls;
pub mod upstream;
pub mod wire;
pub mod worker;
