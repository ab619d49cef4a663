//! A model call on its way through the corridor: read and bounded before, authorised and rewritten on the way out,
//! metered on the way back, settled at the end.
//!
//! What a call asks and answers is `crate::ai`'s; whose budget it falls on is [`budget`]'s.

mod budget;

use std::time::Duration;

use policy::table::{Id, Model, ParamPlace};

use super::Exchange;
use super::finish::Times;
use super::record::Record;
use super::refusal::Refusal;
use crate::ai::meter::Meter;
use crate::ai::request::{self, Call, CallError, Terms};
use crate::ai::usage::Usage;
use crate::http::h1::encode::Framing;
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::http::query;
use crate::limits;
use crate::snapshot::Epoch;
use crate::telemetry::counter::Mode;
use crate::worker::clock;
pub(super) use budget::{Held, reserve};

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModelRefusal(CallError);

impl ModelRefusal {
    /// Every one is the request's fault.
    pub(super) const STATUS: u16 = 400;
}

/// A call that is being made.
pub(super) struct Running {
    /// The ai-proxy that makes it.
    pub(super) row: Id<Model>,
    /// What was asked.
    pub(super) call: Call,
    /// What is held of budgets.
    pub(super) held: Option<Held>,
    meter: Meter,
    streaming: bool,
    used: Option<Usage>,
}

impl Exchange<'_> {
    /// The model that the request calls.
    pub(super) fn model_row(&self) -> Option<Id<Model>> {
        self.record.ledger.running.as_ref().map(|running| running.row)
    }

    /// Reads the call, once the body is there. The body in memory is then what the provider gets.
    pub(super) fn prepare_model(&mut self) -> Option<Refusal> {
        let effects = self.scratch.effects.as_ref()?;
        let id = effects.iter().find_map(|effect| effect.id::<Model>())?;
        let epoch = std::rc::Rc::clone(&self.epoch);
        let policy = &epoch.snapshot.policy;
        let row = policy.get(id);
        if row.max_body > 0 && self.scratch.body.len() > row.max_body as usize {
            return Some(Refusal::BodyTooLarge);
        }
        let budgeted = self
            .scratch
            .state
            .route
            .is_some_and(|route| policy.get(route).on_body.0.is_some());
        let rendered = match self.render_text(row.name_parts) {
            Ok(rendered) => rendered,
            Err(refusal) => return Some(refusal),
        };
        let terms = Terms {
            route_type: row.route_type,
            model: rendered.as_deref().unwrap_or(policy.text(row.name)),
            streaming: row.streaming,
            temperature: row.has_temperature.then_some(row.temperature),
            top_p: row.has_top_p.then_some(row.top_p),
            top_k: row.top_k.checked_sub(1),
            max_tokens: row.max_tokens,
            default_cap: budgeted.then_some(limits::AI_OUTPUT_DEFAULT),
        };
        let mut rewritten = std::mem::take(&mut self.scratch.text);
        rewritten.clear();
        let read = request::read(&self.scratch.body, &terms, &mut rewritten);
        let call = match read {
            Ok(call) => call,
            Err(error) => {
                self.scratch.text = rewritten;
                return Some(Refusal::Model(ModelRefusal(error)));
            }
        };
        if row.param_place == ParamPlace::Body
            && let Some(value) = row.param_value
        {
            add_member(
                policy.text(row.param_name),
                epoch.snapshot.secret(value),
                &mut rewritten,
            );
        }
        std::mem::swap(&mut self.scratch.body, &mut rewritten);
        self.scratch.text = rewritten;
        self.record.body_edited = true;
        let meter = Meter::new(call.strip_usage);
        let running = Running {
            row: id,
            call,
            held: None,
            meter,
            streaming: false,
            used: None,
        };
        self.record.ledger.running = Some(Box::new(running));
        None
    }

    /// Path, credentials and encoding for the provider.
    pub(super) fn write_model_request(&mut self, fields: &mut Outgoing<'_>) -> Result<(), Refusal> {
        let Some(id) = self.model_row() else { return Ok(()) };
        let epoch = std::rc::Rc::clone(&self.epoch);
        let (snapshot, policy) = (&epoch.snapshot, &epoch.snapshot.policy);
        let row = policy.get(id);
        let path = policy.bytes(row.path);
        if !path.is_empty() {
            self.scratch.upstream_path.clear();
            self.scratch.upstream_path.extend_from_slice(path);
        }
        // What cannot be read cannot be metered.
        fields.put(KnownHeader::AcceptEncoding, b"identity");
        fields.put(KnownHeader::ContentType, b"application/json");
        if let Some(value) = row.auth_value {
            let name = policy.bytes(row.auth_header);
            if !(row.allow_override && fields.contains(name)) {
                fields.set(name, snapshot.secret(value));
            }
        }
        if row.param_place == ParamPlace::Query
            && let Some(value) = row.param_value
        {
            let name = policy.bytes(row.param_name);
            let own = query::pairs(&self.scratch.upstream_query).any(|(it, _)| query::decodes_to(it, name));
            if !(row.allow_override && own) {
                self.set_argument(name, snapshot.secret(value));
            }
        }
        if let Some(running) = &mut self.record.ledger.running {
            running.observe(Usage {
                prompt: running.call.prompt_upper,
                completion: 0,
            });
        }
        Ok(())
    }

    /// The message of a refused call.
    pub(super) fn write_model_refusal(&self, refusal: ModelRefusal, message: &mut String) {
        let policy = &self.epoch.snapshot.policy;
        let effects = self.scratch.effects.as_ref();
        let row = effects.and_then(|effects| effects.iter().find_map(|effect| effect.id::<Model>()));
        let model = row.map_or("", |row| policy.text(policy.get(row).name));
        message.push_str(&refusal.0.message(model));
    }

    /// Looks at the provider's response head: a stream is metered as it passes.
    pub(super) fn begin_model_response(&mut self) {
        let scratch = &*self.scratch;
        let headers = scratch.response.headers.on(&scratch.response_received);
        let content_type = headers.get(KnownHeader::ContentType).unwrap_or_default();
        let is_stream = content_type
            .to_ascii_lowercase()
            .starts_with(b"text/event-stream");
        if let Some(running) = &mut self.record.ledger.running {
            running.streaming = is_stream && scratch.response.status == 200;
        }
    }

    /// How a metered stream is framed: its length changes when an event is dropped.
    pub(super) fn stream_framing(&self) -> Option<Framing> {
        self.meters()
            .then(|| Framing::unknown_length(self.scratch.head.version))
    }

    /// Whether the response is a whole answer of a model, which is read before it is passed on.
    pub(super) fn model_needs_body(&self) -> bool {
        let running = self.record.ledger.running.as_ref();
        running.is_some_and(|running| !running.streaming)
    }

    /// What Kong adds and takes away.
    pub(super) fn write_model_response(&self, fields: &mut Outgoing<'_>) {
        let Some(running) = &self.record.ledger.running else {
            return;
        };
        let row = self.epoch.snapshot.policy.get(running.row);
        fields.remove(b"Set-Cookie");
        if row.model_header && self.scratch.response.status == 200 {
            fields.set_with(b"X-Kong-LLM-Model", |out| {
                out.extend_from_slice(row.provider.name().as_bytes());
                out.push(b'/');
                out.extend_from_slice(running.call.model.as_bytes());
            });
        }
        self.write_budget_headers(fields);
    }

    /// Whether the body is metered as it passes.
    pub(super) fn meters(&self) -> bool {
        self.record
            .ledger
            .running
            .as_ref()
            .is_some_and(|running| running.streaming)
    }

    /// Meters a piece of a stream and appends what the client gets of it.
    pub(super) fn meter(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if let Some(running) = &mut self.record.ledger.running {
            running.meter.stream(data, out);
            running.observe(running.counted());
        }
    }

    /// The stream has ended.
    pub(super) fn meter_end(&mut self, out: &mut Vec<u8>) {
        if let Some(running) = &mut self.record.ledger.running {
            running.meter.end_stream(out);
        }
    }

    /// The provider broke off: the client is told in the stream, and no end is invented.
    pub(super) fn meter_failed(&mut self, out: &mut Vec<u8>) {
        self.meter_end(out);
        out.extend_from_slice(
            b"data: {\"error\":{\"message\":\"the upstream broke off its answer\",\"type\":\"server_error\",\
              \"param\":null,\"code\":\"upstream_error\"}}\n\n",
        );
    }

    /// Counts a whole answer.
    pub(super) fn meter_whole(&mut self) {
        if let Some(running) = &mut self.record.ledger.running {
            running.meter.whole(&self.scratch.body);
        }
    }

    /// Replaces what was held by what was used: the provider's count, or the most that it can have been.
    pub(super) fn settle_model(&mut self) {
        let (forwarded, status) = (self.record.forwarded.is_some(), self.record.upstream_status);
        let Some(running) = &mut self.record.ledger.running else {
            return;
        };
        let used = match (forwarded, status) {
            // Nothing was asked, or the provider refused.
            (false, _) => Usage::default(),
            (true, Some(status)) if status >= 400 && running.meter.reported().is_none() => Usage::default(),
            (true, _) => running.counted(),
        };
        running.used = Some(used);
        if let Some(held) = running.held.take() {
            held.settle(used, clock::unix_ms());
        }
    }

    /// What a call came to, once it is settled.
    pub(super) fn finished_call(&self, times: &Times) -> Option<Finished<'_>> {
        finished(&self.epoch, &self.record, times)
    }
}

/// What a call came to, for metrics and the log.
pub(super) struct Finished<'f> {
    pub(super) plugin: &'f str,
    pub(super) provider: &'f str,
    pub(super) model: &'f str,
    pub(super) mode: Mode,
    pub(super) used: Usage,
    /// Millionths of the currency.
    pub(super) cost: u64,
    pub(super) latency: Duration,
    /// Whether the operator wants it in the log.
    pub(super) logged: bool,
}

/// [`Exchange::finished_call`] from its parts.
pub(super) fn finished<'f>(epoch: &'f Epoch, record: &'f Record, times: &Times) -> Option<Finished<'f>> {
    let running = record.ledger.running.as_ref()?;
    let policy = &epoch.snapshot.policy;
    let row = policy.get(running.row);
    let used = running.used.filter(|_| record.forwarded.is_some())?;
    Some(Finished {
        plugin: policy.text(row.id),
        provider: row.provider.name(),
        model: &running.call.model,
        mode: if running.streaming {
            Mode::Stream
        } else {
            Mode::Oneshot
        },
        used,
        cost: used.cost(row.input_cost, row.output_cost),
        latency: times.waited.unwrap_or_default() + times.receiving,
        logged: row.log_statistics,
    })
}

impl Running {
    /// What the call has used so far: the provider's count, else no less than the truth.
    fn counted(&self) -> Usage {
        self.meter.reported().unwrap_or_else(|| Usage {
            prompt: self.call.prompt_upper,
            completion: self.meter.visible().min(self.call.completion_upper),
        })
    }

    /// Notes it, for the case that the exchange ends here.
    fn observe(&mut self, used: Usage) {
        if let Some(held) = &mut self.held {
            held.observe(used, clock::unix_ms());
        }
    }
}

/// Adds a text member to an object.
fn add_member(name: &str, value: &[u8], object: &mut Vec<u8>) {
    let Ok(value) = str::from_utf8(value) else { return };
    object.pop();
    if object.len() > 1 {
        object.push(b',');
    }
    object.push(b'"');
    crate::http::refusal_body::push_json(name, object);
    object.extend_from_slice(b"\":\"");
    crate::http::refusal_body::push_json(value, object);
    object.extend_from_slice(b"\"}");
}
