//! What is free for a peer and costs us: counted against its budgets, and streams that are no more remembered.

use super::{Connection, Role};
use crate::http::h2::ErrorCode;
use crate::http::h2::frame;
use crate::limits;
use crate::settable::{self, Limit};
use crate::worker::clock::Moment;

impl Connection {
    /// DATA on a stream that is no more.
    pub(super) fn stray(&mut self, id: u32, now: Moment) -> Result<(), ErrorCode> {
        self.chat(now)?;
        if self.role == Role::Server && !self.leaving && !self.forgotten.contains(&id) {
            self.forget(id);
            frame::push_reset(id, ErrorCode::StreamClosed, &mut self.out);
            return self.spend_reset(now);
        }
        Ok(())
    }

    pub(super) fn chat(&mut self, now: Moment) -> Result<(), ErrorCode> {
        let may = self.chatter.spend(now);
        if may {
            Ok(())
        } else {
            settable::reached(match self.chatter.is_rate() {
                true => Limit::H2ChatterPerS,
                false => Limit::H2Chatter,
            });
            Err(ErrorCode::EnhanceYourCalm)
        }
    }

    pub(super) fn spend_reset(&mut self, now: Moment) -> Result<(), ErrorCode> {
        let may = self.resets.spend(now);
        if may {
            Ok(())
        } else {
            settable::reached(match self.resets.is_rate() {
                true => Limit::H2ResetsPerS,
                false => Limit::H2Resets,
            });
            Err(ErrorCode::EnhanceYourCalm)
        }
    }

    pub(super) fn forget(&mut self, id: u32) {
        if self.forgotten.len() >= limits::H2_FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(id);
    }
}
