//! Applies the edits that policy decided: to the request on its way out, to the response on its way back.

mod apply;
#[cfg(test)]
mod tests;

use policy::table::{Correlation, Cors, EditList, Generator, Id, Part, Rows};

use self::apply::{Groups, Renderer, RequestParts};
use super::Exchange;
use super::record::Record;
use super::refusal::Refusal;
use crate::edit::body::BodyType;
use crate::edit::template::Sources;
use crate::http::body::BodyLength;
use crate::http::head::RequestHead;
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::http::write::push_decimal;
use crate::snapshot::Snapshot;

pub(crate) use apply::EditMemory;

impl Exchange<'_> {
    /// correlation-id: keeps the client's id or makes one. Whatever becomes of the request, it is known by it.
    pub(super) fn correlate(&mut self) {
        let effects = self.scratch.effects.as_ref();
        let Some(row) = effects.and_then(|effects| effects.iter().find_map(|effect| effect.id())) else {
            return;
        };
        let policy = &self.epoch.snapshot.policy;
        let correlation: Correlation = policy.get(row);
        let headers = self.scratch.head.headers.on(&self.scratch.received);
        let own = headers.find(policy.bytes(correlation.header));
        let mut id = own.map(<[u8]>::to_vec).unwrap_or_default();
        if id.is_empty() {
            self.write_correlation(correlation.generator, &mut id);
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
                out.extend_from_slice(self.client.peer.address_text.as_bytes());
                for part in [
                    u64::from(self.client.peer.port),
                    std::process::id().into(),
                    self.client.requests,
                ] {
                    out.push(b'-');
                    push_decimal(part, out);
                }
                let at = self.record.began_unix_ms;
                out.extend_from_slice(format!("-1-{}.{:03}", at / 1000, at % 1000).as_bytes());
            }
        }
    }

    /// Everything that response phases add or change in the head: also of refusals.
    pub(super) fn apply_response_headers(&mut self, fields: &mut Outgoing<'_>) {
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

    /// Applies a list to the request that goes out; `received` is the request's head as the client sent it.
    pub(super) fn edit_request(
        &mut self,
        id: Id<EditList>,
        fields: &mut Outgoing<'_>,
        received: &[u8],
    ) -> Result<(), Refusal> {
        let epoch = std::rc::Rc::clone(&self.epoch);
        let scratch = &mut *self.scratch;
        let groups = groups(&epoch.snapshot, &self.record, Pieces::Of(id), &scratch.path);
        let sources = sources(&scratch.head, received, &groups);
        let mut parts = RequestParts {
            path: &mut scratch.upstream_path,
            query: &mut scratch.upstream_query,
            body: &mut scratch.body,
            record: &mut self.record,
        };
        let renderer = Renderer {
            policy: &epoch.snapshot.policy,
            sources: &sources,
        };
        apply::edit_request(renderer, id, &mut scratch.edits, &mut parts, fields)
            .map_err(|apply::Unrendered| Refusal::Template)
    }

    /// Makes `value` the only argument of that name in the upstream's query.
    pub(super) fn set_argument(&mut self, name: &[u8], value: &[u8]) {
        let scratch = &mut *self.scratch;
        scratch
            .edits
            .set_argument(name, value, &mut scratch.upstream_query);
        self.record.has_query = true;
    }

    /// What the route's regex captured.
    pub(super) fn captured(&self) -> Captured<'_> {
        let (snapshot, record) = (&self.epoch.snapshot, &self.record);
        regex_of(snapshot, record).map_or_else(Captured::default, |regex| {
            let groups = Groups::of(regex, &self.scratch.path);
            Captured {
                numbered: groups.numbered().to_vec(),
                named: groups.named().to_vec(),
            }
        })
    }

    /// A text that depends on the request; `None` without pieces.
    pub(super) fn render_text(&self, parts: Rows<Part>) -> Result<Option<String>, Refusal> {
        if parts.is_empty() {
            return Ok(None);
        }
        let (snapshot, scratch) = (&self.epoch.snapshot, &*self.scratch);
        let groups = groups(snapshot, &self.record, Pieces::These(parts), &scratch.path);
        let sources = sources(&scratch.head, &scratch.received, &groups);
        let renderer = Renderer {
            policy: &snapshot.policy,
            sources: &sources,
        };
        let mut text = Vec::new();
        let rendered = renderer.render_found(parts, &mut text);
        rendered.map_err(|apply::Unrendered| Refusal::Template)?;
        String::from_utf8(text)
            .map(Some)
            .map_err(|_error| Refusal::Template)
    }

    fn edit_response_headers(&mut self, id: Id<EditList>, fields: &mut Outgoing<'_>) {
        let epoch = std::rc::Rc::clone(&self.epoch);
        let scratch = &mut *self.scratch;
        let groups = groups(&epoch.snapshot, &self.record, Pieces::Of(id), &scratch.path);
        let sources = sources(&scratch.head, &scratch.received, &groups);
        let renderer = Renderer {
            policy: &epoch.snapshot.policy,
            sources: &sources,
        };
        apply::edit_response_headers(renderer, id, &mut scratch.edits, fields);
    }

    /// Whether an edit changes the upstream's body, so that it must be read whole: JSON in plain, and some of it.
    pub(super) fn response_needs_body(&self) -> bool {
        self.scratch.response.body != BodyLength::None && self.would_edit_body()
    }

    /// The same for an answer whose body may stay away, as that to HEAD does.
    pub(super) fn would_edit_body(&self) -> bool {
        let scratch = &*self.scratch;
        let headers = scratch.response.headers.on(&scratch.response_received);
        let is_json = || headers.get(KnownHeader::ContentType).and_then(BodyType::of) == Some(BodyType::Json);
        self.has_body_edits() && is_json() && apply::is_plain(headers.get(KnownHeader::ContentEncoding))
    }

    fn has_body_edits(&self) -> bool {
        let policy = &self.epoch.snapshot.policy;
        let mut lists = self
            .scratch
            .state
            .effects()
            .iter()
            .filter_map(|effect| effect.id::<EditList>());
        lists.any(|id| policy.get(id).needs_body)
    }

    /// Edits the upstream's body, which was read whole.
    pub(super) fn edit_response_body(&mut self) {
        let mut body = std::mem::take(&mut self.scratch.body);
        self.edit_json(&mut body);
        self.scratch.body = body;
    }

    /// Edits the body of the gateway's own answer, if it is JSON.
    pub(super) fn edit_own_body(&mut self, fields: &Outgoing<'_>, body: &mut Vec<u8>) {
        let content_type = fields.get(KnownHeader::ContentType.name().as_bytes());
        if self.has_body_edits() && content_type.and_then(BodyType::of) == Some(BodyType::Json) {
            self.edit_json(body);
        }
    }

    fn edit_json(&mut self, body: &mut Vec<u8>) {
        let epoch = std::rc::Rc::clone(&self.epoch);
        let scratch = &mut *self.scratch;
        for id in scratch
            .state
            .effects()
            .iter()
            .filter_map(|effect| effect.id::<EditList>())
        {
            let groups = groups(&epoch.snapshot, &self.record, Pieces::Of(id), &scratch.path);
            let sources = sources(&scratch.head, &scratch.received, &groups);
            let renderer = Renderer {
                policy: &epoch.snapshot.policy,
                sources: &sources,
            };
            apply::edit_response_json(renderer, id, &mut scratch.edits, body);
        }
    }
}

/// What the route's regex captured, where one of these pieces asks for it.
fn groups<'p>(snapshot: &'p Snapshot, record: &Record, pieces: Pieces, path: &'p [u8]) -> Groups<'p> {
    let policy = &snapshot.policy;
    let asks = match pieces {
        Pieces::Of(list) => apply::uses_captures(policy, list),
        Pieces::These(parts) => policy.rows(parts).any(apply::is_capture),
    };
    if !asks {
        return Groups::default();
    }
    regex_of(snapshot, record).map_or_else(Groups::default, |regex| Groups::of(regex, path))
}

/// The regex that matched, compiled for its captures.
fn regex_of<'s>(snapshot: &'s Snapshot, record: &Record) -> Option<&'s regex::bytes::Regex> {
    let regex = snapshot.policy.get(record.subroute?).regex?;
    snapshot.captures[regex.index()].as_ref()
}

/// Texts that a regex captured.
#[derive(Default)]
pub(super) struct Captured<'c> {
    /// From group 1.
    pub(super) numbered: Vec<&'c [u8]>,
    /// Of groups with a name.
    pub(super) named: Vec<(&'c [u8], &'c [u8])>,
}

/// What is going to be rendered.
#[derive(Clone, Copy)]
enum Pieces {
    /// The values of a list of edits.
    Of(Id<EditList>),
    /// One value.
    These(Rows<Part>),
}

fn sources<'s>(head: &'s RequestHead, received: &'s [u8], groups: &'s Groups<'_>) -> Sources<'s> {
    let request = head.on(received);
    Sources {
        headers: request.headers(),
        query: request.query(),
        captures: groups.numbered(),
        named_captures: groups.named(),
    }
}
