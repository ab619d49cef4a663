//! After a 101: whether it was asked for, and what follows it, which `stream::relay` carries. Which protocol is spoken is
//! of no interest here.

use policy::table::HttpVersion;

use super::forward::Leg;
use super::record::Source;
use super::refusal::Refusal;
use super::request::Sending;
use super::{Exchange, Vanished};
use crate::http::h1::encode::Framing;
use crate::http::headers::Span;
use crate::http::upgrade;
use crate::settable;
use crate::snapshot::Endpoint;
use crate::stream::relay::{End, relay};
use crate::wire::Wire;
use crate::worker::Buffer;

impl Exchange<'_> {
    /// The protocol that the upstream is asked for, if the request as it goes out may still ask for one.
    pub(super) fn asked_protocol(&self, endpoint: &Endpoint, framing: Framing) -> Option<Span> {
        let plain =
            self.upstream_method() == b"GET" && matches!(framing, Framing::Nothing | Framing::Length(0));
        let asked = upgrade::asked(&self.scratch.head, &self.scratch.received);
        asked.filter(|_| plain && endpoint.http != HttpVersion::Http2 && self.model_row().is_none())
    }

    /// Whether the 101 that is at the start of `received` is what the request asked for.
    pub(super) fn switches(&self, sending: &Sending, received: &[u8]) -> bool {
        sending.upgrade.is_some_and(|asked| {
            let asked = asked.of(&self.scratch.received);
            upgrade::agreed(asked, &self.scratch.response, received)
        })
    }

    /// Passes the 101 on and carries what follows it. Neither connection is used for anything else afterwards.
    pub(super) async fn tunnel(&mut self, leg: Leg, endpoint: &Endpoint) -> Result<(), Vanished> {
        // HTTP/2 has no 101 (RFC 9113 §8.6), and nobody asks for one there.
        let Wire::Bytes(mut stream) = leg.leased.wire else {
            self.record.source = Source::Gateway;
            return self.refuse(Refusal::Upstream(502)).await;
        };
        self.keep_alive = false;
        self.write_head_with(Framing::Nothing);
        self.send().await?;
        self.client.output = Buffer::empty();
        stream.conn().disarm();
        let Some(client) = self.client.wire.bytes() else {
            return Err(Vanished);
        };
        let early = std::mem::replace(&mut self.client.input, Buffer::empty());
        let client = End {
            stream: client,
            early,
            write: settable::client_write_s(),
        };
        let upstream = End {
            stream: &mut stream,
            early: leg.input,
            write: endpoint.write,
        };
        // That one side broke off is an end like any other: no length was promised.
        let relayed = relay(client, upstream, endpoint.read).await;
        self.record.carried(relayed.from_left, relayed.from_right);
        // Whoever did not end the tunnel is told that it has ended, if it can be told at once.
        let _ = stream.duplex().try_finish();
        Ok(())
    }
}
