//! Claims about paths; about artifacts, their verifier, the router and the machine, on artifacts assembled by hand.

mod agreement;
mod decisions;
mod frame;
mod mutation;
mod path;
mod programs;
mod reference;
mod routing;
mod sample;
mod streams;
mod verifier;
