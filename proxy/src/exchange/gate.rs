//! Quotas and budgets, asked on a program's behalf; what was taken is remembered for headers and settlement.

use std::rc::Rc;

use policy::field;
use policy::table::{Budget, Id, Quota};

use super::Context;
use super::model::{self, Running};
use super::quota::{self, Caller, Taken};
use crate::snapshot::Epoch;
use crate::worker::clock;

/// What an exchange took.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) taken: Taken,
    /// The model call that is being made.
    pub(super) running: Option<Box<Running>>,
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
    pub(super) fn take(&mut self, quota: Id<Quota>, caller: &Caller<'_>) -> field::Taken {
        let (policy, table) = (&self.epoch.snapshot.policy, &self.context.instruments.quotas);
        if quota::take(
            policy,
            table,
            quota,
            caller,
            clock::unix_ms(),
            &mut self.ledger.taken,
        ) {
            field::Taken::Admitted
        } else {
            field::Taken::Denied
        }
    }

    /// Holds a call's bound against a budget. A request that calls no model uses none.
    pub(super) fn reserve(&mut self, budget: Id<Budget>, caller: &Caller<'_>) -> field::Taken {
        let Some(running) = self.ledger.running.as_mut() else {
            return field::Taken::Admitted;
        };
        let (policy, table) = (&self.epoch.snapshot.policy, &self.context.instruments.quotas);
        model::reserve(policy, table, budget, caller, running, clock::unix_ms())
    }
}
