//! Claims about artifacts, their verifier, the router and the machine, on artifacts assembled by hand.

mod decisions;
mod frame;
mod mutation;
mod programs;
mod reference;
mod routing;
mod sample;
mod verifier;
