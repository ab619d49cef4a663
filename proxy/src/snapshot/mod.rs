//! A policy made ready for the workers.

pub mod secret;
