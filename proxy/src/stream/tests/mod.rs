//! The room without a gateway around it.

mod client_hello;
mod relay;
