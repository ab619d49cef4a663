//! Decides whether an artifact may be run, whoever wrote it. `rows` checks every word by its column, `order` what
//! look-ups rely on, `sent` what reaches a peer, `program` every entry of every route. The first fault ends the search.

mod order;
mod program;
mod rows;
mod sent;

use crate::artifact::{Limits, Policy};
use crate::cost;
use crate::fault::{Fault, FaultKind};

pub(crate) use rows::choices;

pub(crate) fn verify(policy: &Policy, limits: Limits) -> Result<(), Fault> {
    rows::check(policy)?;
    order::check(policy)?;
    sent::check(policy)?;
    let fault = |kind| Fault {
        section: "Meta",
        at: 0,
        kind,
    };
    let proven = cost::route_search(policy);
    let stated = policy.meta().route_cost;
    if stated != proven {
        return Err(fault(FaultKind::CostMismatch(stated, proven)));
    }
    if proven > limits.route_cost {
        return Err(fault(FaultKind::Cost(proven, limits.route_cost)));
    }
    program::check(policy, limits)
}

/// Costs that a builder states.
pub(crate) struct Costs {
    /// Of each route's entries.
    pub(crate) routes: alloc::vec::Vec<u32>,
    /// Of finding a route.
    pub(crate) search: u32,
}

/// Proves a draft whose costs are not stated yet.
pub(crate) fn prove_draft(draft: &Policy) -> Result<Costs, Fault> {
    rows::check(draft)?;
    order::check(draft)?;
    sent::check(draft)?;
    Ok(Costs {
        routes: program::prove(draft)?,
        search: cost::route_search(draft),
    })
}
