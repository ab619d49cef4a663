//! Turning a request away because there is too much to do: once its route is known, before policy has cost anything.

use policy::table::{Id, Route};

use super::Exchange;
use super::refusal::Refusal;
use crate::overload::Reason;
use crate::telemetry::counter::Tally;

/// What the client is told.
pub(super) const MESSAGE: &str = "The gateway is overloaded, try again later";

impl Exchange<'_> {
    /// Why the request is not served, if it is not. Nothing was taken from its quotas.
    pub(super) fn shed(&self, route: Id<Route>) -> Option<Refusal> {
        let priority = self.epoch.snapshot.priorities[route.index()];
        let known = self.client.peer.known.get();
        let shed = self.context.overload.admit(priority, known).err()?;
        self.context.instruments.recorder.tally(match shed.reason {
            Reason::Late => Tally::ShedLate,
            Reason::Memory => Tally::ShedMemory,
        });
        Some(Refusal::Overloaded(shed.retry_after_s))
    }

    /// A caller that proved who it is goes before others from now on.
    pub(super) fn remember_caller(&self) {
        let state = &self.scratch.state;
        if state.credential.is_some() && !state.anonymous {
            self.client.peer.known.set(true);
        }
    }
}
