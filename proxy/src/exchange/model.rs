//! Model calls.

use policy::table::{Id, Model};

use super::Exchange;
use super::refusal::Refusal;
use crate::http::h1::encode::Framing;
use crate::http::outgoing::Outgoing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelRefusal;
impl ModelRefusal {
    pub(super) const fn status(self) -> u16 {
        400
    }
}

impl Exchange<'_> {
    pub(super) fn model_row(&self) -> Option<Id<Model>> {
        None
    }
    pub(super) fn prepare_model(&mut self) -> Option<Refusal> {
        None
    }
    pub(super) fn write_model_request(&mut self, _fields: &mut Outgoing<'_>) -> Result<(), Refusal> {
        Ok(())
    }
    pub(super) fn write_model_refusal(&self, _r: ModelRefusal, _f: &mut Outgoing<'_>, _m: &mut String) {}
    pub(super) fn stream_framing(&self) -> Option<Framing> {
        None
    }
    pub(super) fn write_model_response(&self, _fields: &mut Outgoing<'_>) {}
    pub(super) fn meters(&self) -> bool {
        false
    }
    pub(super) fn meter(&mut self, _data: &[u8], _out: &mut Vec<u8>) {}
    pub(super) fn meter_end(&mut self, _out: &mut Vec<u8>) {}
    pub(super) fn meter_failed(&mut self) {}
}
