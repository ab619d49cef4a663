//! Applies the edits that policy decided: to the request on its way out, to the response on its way back.

use policy::table::{Correlation, Cors, EditList, Generator, Id};

use super::Exchange;
use super::refusal::Refusal;
use crate::http::outgoing::Outgoing;
use crate::http::write::push_decimal;

impl Exchange<'_> {
    /// correlation-id: keeps the client's id or makes one, and remembers it.
    pub(super) fn correlate(&mut self, correlation: &Correlation, fields: &mut Outgoing<'_>) {
        let epoch = std::rc::Rc::clone(&self.epoch);
        let name = epoch.snapshot.policy.bytes(correlation.header);
        let mut id = fields.get(name).map(<[u8]>::to_vec).unwrap_or_default();
        if id.is_empty() {
            self.write_correlation(correlation.generator, &mut id);
            fields.set(name, &id);
        }
        self.record.correlation = Some(id);
    }

    fn write_correlation(&self, generator: Generator, out: &mut Vec<u8>) {
        match generator {
            Generator::Uuid => out.extend_from_slice(&self.context.ids.uuid()),
            Generator::UuidCounter => {
                let (uuid, count) = self.context.ids.uuid_counter();
                out.extend_from_slice(&uuid);
                out.push(b'#');
                push_decimal(count, out);
            }
            Generator::Tracker => {
                out.extend_from_slice(self.client.address_text.as_bytes());
                for part in [u64::from(self.client.peer_port), std::process::id().into(), self.client.requests] {
                    out.push(b'-');
                    push_decimal(part, out);
                }
                let at = self.record.began_unix_ms;
                out.extend_from_slice(format!("-1-{}.{:03}", at / 1000, at % 1000).as_bytes());
            }
        }
    }

    /// Everything that response phases add or change in the head: also of refusals.
    pub(super) fn apply_response_headers(&mut self, fields: &mut Outgoing<'_>, _text: &mut Vec<u8>) {
        let epoch = std::rc::Rc::clone(&self.epoch);
        let policy = &epoch.snapshot.policy;
        self.write_quota_headers(fields);
        let effects = *self.scratch.state.effects();
        for effect in effects.iter() {
            if let Some(id) = effect.id::<Correlation>() {
                let correlation = policy.get(id);
                if let Some(value) = &self.record.correlation
                    && correlation.echo
                {
                    fields.set(policy.bytes(correlation.header), value);
                }
            } else if let Some(id) = effect.id::<Cors>() {
                self.write_cors(id, fields);
            } else if let Some(id) = effect.id::<EditList>() {
                self.edit_response_headers(id, fields);
            }
        }
    }

    pub(super) fn edit_request(&mut self, _id: Id<EditList>, _fields: &mut Outgoing<'_>, _received: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn edit_response_headers(&mut self, _id: Id<EditList>, _fields: &mut Outgoing<'_>) {}

    pub(super) fn response_needs_body(&self) -> bool {
        false
    }

    pub(super) fn edit_response_body(&mut self) {}
}
