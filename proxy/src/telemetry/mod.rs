//! What operators see of the traffic: metrics and the access log.
//!
//! Enters: facts of finished exchanges, from every worker on its own. Leaves: the Prometheus text that Kong's
//! plugin writes, and Kong's log object as one line of JSON. Counting and logging neither wait nor lock; only the
//! log's own thread writes. Absent: clocks, and the decision what is counted or logged.

pub mod access_log;
pub mod counter;
mod decimal;
pub mod prometheus;
