//! A client that speaks HTTP/2: each of its streams is one exchange.

use std::rc::Rc;

use crate::exchange::{self, Client, Context, Pace, Peer};
use crate::http::h1::HeadError;
use crate::http::h2::ErrorCode;
use crate::multiplex::{self, Handle};
use crate::settable;
use crate::telemetry::counter::Tally;
use crate::wire::Wire;
use crate::worker::{self, Buffer, Deadline};

/// Serves the connection to its end.
pub(super) async fn serve(context: &Rc<Context>, client: Client) {
    let Wire::Bytes(stream) = client.wire else { return };
    let (peer, mut requests) = (client.peer, client.requests);
    multiplex::serve(stream, client.input, Rc::clone(&context.draining), |handle| {
        requests += 1;
        if let Some(limit) = peer.is_done(requests)
            && handle.say_goodbye()
        {
            settable::reached(limit);
        }
        // A stream holds as much memory as a connection that is at work.
        if context.presence.exchanges() >= context.node.connections {
            context.instruments.recorder.tally(Tally::StreamsRefused);
            return handle.refuse(ErrorCode::RefusedStream);
        }
        worker::spawn(exchange(Rc::clone(context), Rc::clone(&peer), handle, requests));
    })
    .await;
}

/// Serves one stream.
async fn exchange(context: Rc<Context>, peer: Rc<Peer>, handle: Handle, requests: u64) {
    let mut scratch = context.scratch();
    let read = handle.take_request(&mut scratch.received, &mut scratch.head);
    let mut client = Client {
        wire: Wire::Frames(handle),
        input: Buffer::empty(),
        output: Buffer::empty(),
        peer,
        patience: Deadline::on_waker(),
        pace: Pace::default(),
        requests,
    };
    if let Some(limit) = read.err().and_then(HeadError::limit) {
        settable::reached(limit);
    }
    match read.map_err(HeadError::status) {
        Ok(()) => {
            exchange::run(&context, &mut client, &mut scratch).await;
        }
        // RFC 9113 §8.1.1: what is malformed is not answered.
        Err(400) => {
            context.instruments.recorder.tally(Tally::Malformed);
            context.instruments.recorder.tally(Tally::Requests);
            if let Some(frames) = client.wire.frames() {
                frames.refuse(ErrorCode::Protocol);
            }
        }
        Err(status) => {
            exchange::refuse_head(&context, &mut client, &mut scratch, status).await;
        }
    }
    context.give_back(scratch);
}
