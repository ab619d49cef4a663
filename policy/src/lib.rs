//! The contract between Tollgate's compiler and its gateway.
//!
//! An *artifact* is a file of *tables* and *bytecode*. [`artifact::Builder`] writes one, [`Policy::load`] reads and
//! verifies one, whoever wrote it; [`path::canonicalise`], [`route::find`] and [`vm::run`] judge requests with it,
//! [`stream::find`] connections.
//! Nothing here does I/O, reads a clock, or allocates after load. Deliberately absent: decK, YAML, sockets, counters.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(target_endian = "big")]
compile_error!("artifacts are read in place as little-endian words");

pub mod artifact;
pub mod caller;
pub mod cost;
pub mod digest;
pub mod fault;
pub mod field;
pub mod index;
pub mod isa;
pub mod path;
pub mod percent;
mod ranges;
pub mod route;
pub mod select;
pub mod stream;
pub mod table;
pub mod unix;
mod verify;
pub mod vm;
pub mod walk;

pub use artifact::Policy;
pub use fault::{Fault, FaultKind};
