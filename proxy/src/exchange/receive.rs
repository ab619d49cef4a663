//! Waits for the head of a response, and passes on what comes before it.

use super::client::Lost;
use super::forward::{Failure, Leg, upstream_failure};
use super::refusal::Refusal;
use super::request::Sending;
use super::{Exchange, Vanished};
use crate::http::head::Version;
use crate::http::outgoing::OutgoingHeaders;
use crate::settable;
use crate::snapshot::Endpoint;
use crate::upstream::retry::Progress;
use crate::wire::WireAborter;
use crate::worker::Buffer;

impl Exchange<'_> {
    /// Waits for the final response head; passes on what comes before it.
    pub(super) async fn receive_head(
        &mut self,
        leg: &mut Leg,
        endpoint: &Endpoint,
        sending: &Sending,
        mut progress: Progress,
    ) -> Result<(), Failure> {
        while !self.receive_one(leg, endpoint, sending, &mut progress).await? {}
        Ok(())
    }

    /// Waits for the next response head; whether it is the final one. An interim one is passed on.
    pub(super) async fn receive_one(
        &mut self,
        leg: &mut Leg,
        endpoint: &Endpoint,
        sending: &Sending,
        progress: &mut Progress,
    ) -> Result<bool, Failure> {
        match leg.leased.wire.frames() {
            Some(_) => self.take_head(leg, endpoint, *progress).await?,
            None => self.read_head(leg, endpoint, sending, progress).await?,
        }
        progress.response_began = true;
        if !self.scratch.response.is_interim() {
            return Ok(true);
        }
        self.pass_interim().await.map_err(|_vanished| Failure::Vanished)?;
        Ok(false)
    }

    /// Waits for a head in frames.
    async fn take_head(
        &mut self,
        leg: &mut Leg,
        endpoint: &Endpoint,
        progress: Progress,
    ) -> Result<(), Failure> {
        let Some(frames) = leg.leased.wire.frames() else {
            return Ok(());
        };
        frames.arm(endpoint.read);
        let aborter = WireAborter::Frames(frames.aborter());
        let scratch = &mut *self.scratch;
        scratch.response_received.clear();
        let response = frames.response(
            scratch.head.method,
            &mut scratch.response_received,
            &mut scratch.response,
        );
        match self.client.watched(response, aborter).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(malformed)) => {
                if let Some(limit) = malformed.limit() {
                    settable::reached(limit);
                }
                Err(Failure::Upstream {
                    refusal: Refusal::Upstream(502),
                    progress: Progress {
                        response_began: true,
                        ..progress
                    },
                })
            }
            Err(Lost::Client) => Err(Failure::Vanished),
            Err(Lost::Upstream(error)) => Err(upstream_failure(error, progress)),
        }
    }

    /// Reads until a head is there.
    async fn read_head(
        &mut self,
        leg: &mut Leg,
        endpoint: &Endpoint,
        sending: &Sending,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        loop {
            if !leg.input.is_empty() {
                progress.response_began = true;
                let method = self.scratch.head.method;
                match leg.decoder.decode(&leg.input, method, &mut self.scratch.response) {
                    // Nobody asked for this protocol: what follows would be read as answers to other requests.
                    Ok(Some(_))
                        if self.scratch.response.status == 101 && !self.switches(sending, &leg.input) =>
                    {
                        let refusal = Refusal::Upstream(502);
                        let progress = *progress;
                        return Err(Failure::Upstream { refusal, progress });
                    }
                    Ok(Some(length)) => {
                        self.scratch.response_received.clear();
                        self.scratch
                            .response_received
                            .extend_from_slice(&leg.input[..length]);
                        leg.input.consume(length);
                        return Ok(());
                    }
                    Ok(None) => {}
                    Err(malformed) => {
                        if let Some(limit) = malformed.limit() {
                            settable::reached(limit);
                        }
                        let refusal = Refusal::Upstream(502);
                        let progress = *progress;
                        return Err(Failure::Upstream { refusal, progress });
                    }
                }
            }
            self.read_upstream(leg, endpoint)
                .await
                .map_err(|lost| match lost {
                    Lost::Client => Failure::Vanished,
                    Lost::Upstream(error) => upstream_failure(error, *progress),
                })?;
        }
    }

    /// Passes an interim head on, as RFC 9110 §15.2 asks: all but 100, which is between us and the upstream, and not to
    /// HTTP/1.0, which knows none.
    async fn pass_interim(&mut self) -> Result<(), Vanished> {
        let (response, received) = (&self.scratch.response, &self.scratch.response_received[..]);
        if response.status == 100 || self.scratch.head.version == Version::Http10 {
            return Ok(());
        }
        // The exchange's own list is the request's, which may be sent again.
        let mut list = OutgoingHeaders::default();
        let fields = list.start_response(response.headers.on(received), received);
        self.client.interim(response.status, &fields);
        self.send().await
    }

    /// Appends what the upstream sends.
    pub(super) async fn read_upstream(&mut self, leg: &mut Leg, endpoint: &Endpoint) -> Result<usize, Lost> {
        if leg.input.capacity() == 0 {
            leg.input = Buffer::take();
        }
        let wire = &mut leg.leased.wire;
        wire.arm(endpoint.read);
        let aborter = wire.aborter();
        let read = self.client.watched(wire.read(&mut leg.input), aborter).await;
        // What comes next may take the client's time: the upstream is not to blame for that.
        leg.leased.wire.disarm();
        read
    }
}
