//! Passes the response on: head with its edits, body as it comes, or whole where an edit needs it.

use policy::isa::Entry;

use super::client::{Lost, reader_of};
use super::forward::Leg;
use super::record::Source;
use super::refusal::{PRODUCT, Refusal, milliseconds};
use super::{Exchange, Vanished};
use crate::http::body::{BodyLength, BodyReader, BodyStep};
use crate::http::forwarding::write_via;
use crate::http::h1::encode::{Connection, Framing};
use crate::http::h2;
use crate::http::head::{Method, Version};
use crate::http::known::KnownHeader;
use crate::http::outgoing::Outgoing;
use crate::limits;
use crate::settable;
use crate::snapshot::Endpoint;
use crate::tls::StreamError;
use crate::worker::{ConnError, clock};

impl Exchange<'_> {
    pub(super) async fn relay(&mut self, mut leg: Leg, endpoint: &Endpoint) -> Result<(), Vanished> {
        self.record.answered = Some(clock::now());
        self.record.source = Source::Upstream;
        self.record.upstream_status = Some(self.scratch.response.status);
        if self.asked_head_instead() {
            self.scratch.response.body = BodyLength::None;
        }
        self.run(Entry::Response);
        self.begin_model_response();
        if self.scratch.response.status == 101 {
            // Boxed: few exchanges become one, all would carry the memory.
            return Box::pin(self.tunnel(leg, endpoint)).await;
        }
        let mut body = reader_of(&leg.leased.wire, self.scratch.response.body);
        if self.response_needs_body() || self.model_needs_body() {
            let read = self.read_response_body(&mut leg, &mut body, endpoint).await?;
            if let Err(refusal) = read {
                self.record.source = Source::Gateway;
                return self.refuse(refusal).await;
            }
            self.send_whole_response(&mut leg).await?;
            self.settle_leg(leg, &body);
            return self.discard_body().await;
        }
        let framing = self.write_response_head();
        let relayed = self.relay_body(&mut leg, &mut body, framing, endpoint).await;
        match relayed {
            Ok(()) => {
                self.settle_leg(leg, &body);
                self.discard_body().await
            }
            Err(vanished) => Err(vanished),
        }
    }

    /// Whether an edit made HEAD of another method: whatever length is announced, no body follows.
    fn asked_head_instead(&self) -> bool {
        self.record.method.as_deref() == Some(b"HEAD")
    }

    /// Whether an edit made another method of HEAD: a body may follow that nobody reads.
    fn leaves_body_unread(&self) -> bool {
        let edited = self.record.method.is_some() && !self.asked_head_instead();
        edited && self.scratch.head.method == Method::Head
    }

    /// Keeps the upstream's connection if both sides ended cleanly.
    fn settle_leg(&self, leg: Leg, body: &BodyReader) {
        let clean = body.is_ended() && leg.input.is_empty() && self.body.is_ended();
        if clean && self.scratch.response.keep_alive && !self.leaves_body_unread() {
            self.context.pool.borrow_mut().give(&leg.key, leg.leased);
        }
    }

    /// Appends the response head to what is sent to the client.
    fn write_response_head(&mut self) -> Framing {
        let response = &self.scratch.response;
        let received = &self.scratch.response_received;
        let framing = match self.stream_framing() {
            Some(framing) => framing,
            // The length of a body that would have been edited is not known without it.
            None if response.body == BodyLength::None && self.would_edit_body() => Framing::Nothing,
            None => Framing::of_response(
                response,
                received,
                self.scratch.head.method,
                self.scratch.head.version,
            ),
        };
        self.write_head_with(framing);
        framing
    }

    pub(super) fn write_head_with(&mut self, framing: Framing) {
        let mut outgoing = std::mem::take(&mut self.scratch.outgoing);
        let received = std::mem::take(&mut self.scratch.response_received);
        let status = self.scratch.response.status;
        {
            let mut fields = outgoing.start_response(self.scratch.response.headers.on(&received), &received);
            self.write_proxy_headers(&received, &mut fields);
            self.write_hash_cookie(&mut fields);
            self.write_model_response(&mut fields);
            self.apply_response_headers(&mut fields);
            if framing == Framing::UntilClose || self.scratch.head.version == Version::Http10 {
                self.keep_alive &= framing != Framing::UntilClose;
            }
            // An upload that was cut short by the answer leaves the client's bytes in the way.
            if !self.body.is_ended()
                && self
                    .body
                    .remaining()
                    .is_none_or(|left| left > settable::drain_bytes())
            {
                self.keep_alive = false;
            }
            let connection = if status == 101 {
                let head = self.scratch.response.headers.on(&received);
                Connection::Switch(head.get(KnownHeader::Upgrade).unwrap_or_default())
            } else if self.keep_alive {
                Connection::KeepAlive
            } else {
                Connection::Close
            };
            self.client.begin(
                status,
                &fields,
                framing,
                connection,
                is_silent(self.scratch.head.method, framing),
            );
        }
        self.record.status = status;
        self.scratch.outgoing = outgoing;
        self.scratch.response_received = received;
    }

    /// What Kong adds to answers of an upstream.
    fn write_proxy_headers(&self, received: &[u8], fields: &mut Outgoing<'_>) {
        let record = &self.record;
        let (forwarded, answered) = (record.forwarded.unwrap_or(record.began), clock::now());
        let waited = record.answered.unwrap_or(answered) - forwarded;
        let total = answered - record.began;
        let own = total.saturating_sub(waited);
        for (known, time) in [
            (KnownHeader::XKongUpstreamLatency, waited),
            (KnownHeader::XKongProxyLatency, own),
        ] {
            fields.put_number(known, milliseconds(time));
        }
        write_via(
            self.scratch.response.headers.on(received),
            self.scratch.response.version,
            PRODUCT,
            fields,
        );
        fields.put(KnownHeader::XKongRequestId, &record.id);
        // RFC 9110 §6.6.1: who passes a response on adds what its origin forgot.
        if !self.scratch.response.headers.contains(KnownHeader::Date) {
            self.write_date(fields);
        }
    }

    async fn relay_body(
        &mut self,
        leg: &mut Leg,
        body: &mut BodyReader,
        framing: Framing,
        endpoint: &Endpoint,
    ) -> Result<(), Vanished> {
        let (mut done, mut wide) = (0, false);
        loop {
            // The client must not take a part for the whole: it sees the connection break.
            let Ok(step) = body.advance(&leg.input[done..]) else {
                return self.break_off().await;
            };
            match step {
                BodyStep::Data { start, end } => {
                    let all = done + start == 0 && end == leg.input.len();
                    if all && framing != Framing::Chunked && self.client.output.is_empty() && !self.meters() {
                        // The memory changes hands instead of the bytes.
                        std::mem::swap(&mut leg.input, &mut self.client.output);
                    } else {
                        self.pass(&leg.input[done + start..done + end], framing);
                        done += end;
                    }
                    if self.client.output.len() >= limits::BUFFER_BYTES {
                        self.send_part().await?;
                    }
                }
                BodyStep::End { consumed } => {
                    leg.input.consume(done + consumed);
                    return self.pass_end(leg, framing).await;
                }
                BodyStep::More => {
                    leg.input.clear();
                    done = 0;
                    if !self.client.output.is_empty() {
                        self.send_part().await?;
                    }
                    match self.splice_response(leg, body, framing, endpoint).await {
                        Ok(()) if body.is_ended() => continue,
                        Ok(()) => {}
                        Err(Lost::Client) => return Err(Vanished),
                        Err(Lost::Upstream(_)) => return self.break_off().await,
                    }
                    if wide {
                        leg.input.reserve(limits::BUFFER_LARGE_BYTES);
                    }
                    match self.read_upstream(leg, endpoint).await {
                        Ok(count) => wide = count >= limits::BUFFER_BYTES,
                        Err(Lost::Client) => return Err(Vanished),
                        Err(Lost::Upstream(StreamError::Conn(ConnError::Closed))) if body.close().is_ok() => {
                            self.keep_alive &= framing != Framing::UntilClose;
                            return self.pass_end(leg, framing).await;
                        }
                        Err(Lost::Upstream(_)) => return self.break_off().await,
                    }
                }
            }
        }
    }

    /// Sends what is ready; an upstream whose client is gone is dropped by the caller.
    async fn send_part(&mut self) -> Result<(), Vanished> {
        self.send().await
    }

    /// One piece of the body, metered or as it is.
    fn pass(&mut self, data: &[u8], framing: Framing) {
        if self.meters() {
            let mut metered = std::mem::take(&mut self.scratch.text);
            metered.clear();
            self.meter(data, &mut metered);
            if !metered.is_empty() {
                self.client.piece(&metered, framing);
            }
            self.scratch.text = metered;
        } else {
            self.client.piece(data, framing);
        }
    }

    /// What ends the body, and the trailers where both sides have such.
    async fn pass_end(&mut self, leg: &mut Leg, framing: Framing) -> Result<(), Vanished> {
        let silent = is_silent(self.scratch.head.method, framing);
        if self.meters() {
            let mut rest = std::mem::take(&mut self.scratch.text);
            rest.clear();
            self.meter_end(&mut rest);
            if !rest.is_empty() && !silent {
                self.client.piece(&rest, framing);
            }
            self.scratch.text = rest;
        }
        self.send_end(leg, framing).await
    }

    /// Sends what is ready and ends the body, with the trailers that came where both sides have such.
    async fn send_end(&mut self, leg: &mut Leg, framing: Framing) -> Result<(), Vanished> {
        let silent = is_silent(self.scratch.head.method, framing);
        if !silent && self.client.wire.is_shared() && has_trailers(leg) {
            self.send().await?;
            if let (Some(upstream), Some(client)) = (leg.leased.wire.frames(), self.client.wire.frames()) {
                upstream.pass_trailers(client, h2::encode::trailers);
            }
            return Ok(());
        }
        if !silent {
            self.client.end(framing);
        }
        self.send().await
    }

    /// The upstream failed in the middle of its body.
    async fn break_off(&mut self) -> Result<(), Vanished> {
        self.keep_alive = false;
        if self.meters() {
            let mut told = std::mem::take(&mut self.scratch.text);
            told.clear();
            self.meter_failed(&mut told);
            self.client
                .piece(&told, Framing::unknown_length(self.scratch.head.version));
            self.scratch.text = told;
        }
        self.send().await?;
        Err(Vanished)
    }

    /// Reads the whole response body.
    async fn read_response_body(
        &mut self,
        leg: &mut Leg,
        body: &mut BodyReader,
        endpoint: &Endpoint,
    ) -> Result<Result<(), Refusal>, Vanished> {
        self.scratch.body.clear();
        let mut done = 0;
        loop {
            match body.advance(&leg.input[done..]) {
                Ok(BodyStep::Data { start, end }) => {
                    let data = &leg.input[done + start..done + end];
                    self.scratch.body.extend_from_slice(data);
                    done += end;
                    if self.scratch.body.len() > settable::body_bytes() {
                        settable::reached(settable::Limit::BodyBytes);
                        return Ok(Err(Refusal::Upstream(502)));
                    }
                }
                Ok(BodyStep::End { consumed }) => {
                    leg.input.consume(done + consumed);
                    return Ok(Ok(()));
                }
                Ok(BodyStep::More) => {
                    leg.input.clear();
                    done = 0;
                    match self.read_upstream(leg, endpoint).await {
                        Ok(_) => {}
                        Err(Lost::Client) => return Err(Vanished),
                        Err(Lost::Upstream(StreamError::Conn(ConnError::Closed))) if body.close().is_ok() => {
                            return Ok(Ok(()));
                        }
                        Err(Lost::Upstream(_)) => return Ok(Err(Refusal::Upstream(502))),
                    }
                }
                Err(_) => return Ok(Err(Refusal::Upstream(502))),
            }
        }
    }

    /// Sends a response whose body was read whole, after its edits. Its trailers are passed on as they came.
    async fn send_whole_response(&mut self, leg: &mut Leg) -> Result<(), Vanished> {
        self.meter_whole();
        self.edit_response_body();
        let framing = match self.scratch.response.body {
            BodyLength::None if self.scratch.body.is_empty() => Framing::of_response(
                &self.scratch.response,
                &self.scratch.response_received,
                self.scratch.head.method,
                self.scratch.head.version,
            ),
            _ => Framing::Length(self.scratch.body.len() as u64),
        };
        let framing = match framing {
            // A head that says that nothing follows would leave no place for them.
            Framing::Length(0) if self.client.wire.is_shared() && has_trailers(leg) => Framing::UntilClose,
            framing => framing,
        };
        self.write_head_with(framing);
        if !is_silent(self.scratch.head.method, framing) {
            self.client.piece(&self.scratch.body, framing);
        }
        self.send_end(leg, framing).await
    }
}

fn has_trailers(leg: &mut Leg) -> bool {
    leg.leased
        .wire
        .frames()
        .is_some_and(|frames| frames.has_trailers())
}

/// Whether nothing follows a response's head.
pub(super) fn is_silent(method: Method, framing: Framing) -> bool {
    method == Method::Head || matches!(framing, Framing::Nothing | Framing::Length(0))
}
