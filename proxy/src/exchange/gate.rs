//! Quotas and budgets, asked on a program's behalf; what was taken is remembered for headers and settlement.

use std::rc::Rc;

use policy::field::Taken;
use policy::table::{Budget, Id, Quota};
use policy::vm::State;

use super::Context;
use crate::http::headers::HeaderView;
use crate::snapshot::Epoch;

/// What an exchange took.
#[derive(Default)]
pub struct Ledger {}

/// The counters, for one request.
pub struct Gate<'g> {
    /// The exchange's epoch.
    pub epoch: &'g Rc<Epoch>,
    /// The worker.
    pub context: &'g Context,
    /// What was taken so far.
    pub ledger: &'g mut Ledger,
}

impl Gate<'_> {
    pub fn take(&mut self, _quota: Id<Quota>, _state: &State, _h: HeaderView<'_>, _path: &[u8], _c: Option<u128>) -> Taken {
        Taken::Admitted
    }
    pub fn reserve(&mut self, _b: Id<Budget>, _state: &State, _h: HeaderView<'_>, _path: &[u8], _c: Option<u128>) -> Taken {
        Taken::Admitted
    }
}
