//! Where a try goes, and what it teaches about the target that it went to.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use policy::table::{self, Algorithm, Id};

use super::forward::{Attempt, Errand};
use super::refusal::Refusal;
use super::{Exchange, Vanished};
use crate::snapshot::{Endpoint, Epoch, Missed, Selection, Server};
use crate::upstream::health::Seen;
use crate::worker::{Address, First, race};

/// Where a try goes. A target carries the try for as long as this lives.
pub(super) struct Place<'s> {
    pub(super) server: &'s Server,
    /// The server's address, when it is known already.
    pub(super) address: Option<Address>,
    /// What Host says.
    pub(super) authority: &'s str,
    /// What TLS asks for.
    pub(super) name: &'s Arc<str>,
    target: Option<Target<'s>>,
}

struct Target<'s> {
    epoch: &'s Epoch,
    upstream: Id<table::Upstream>,
    selection: Selection,
}

impl<'s> Place<'s> {
    /// The service's own server.
    fn own(endpoint: &'s Endpoint) -> Self {
        Self {
            server: &endpoint.server,
            address: endpoint.server.literal,
            authority: &endpoint.authority,
            name: &endpoint.server.host,
            target: None,
        }
    }

    /// A target of its upstream.
    fn of(endpoint: &'s Endpoint, epoch: &'s Epoch, id: Id<table::Upstream>, selection: Selection) -> Self {
        let upstream = &epoch.snapshot.upstreams[id.index()];
        let target = &upstream.targets[selection.peer.target];
        let (authority, name) = match &upstream.host_header {
            Some((header, name)) => (header, name),
            None => (
                &target.authority[usize::from(endpoint.tls.is_some())],
                &target.server.host,
            ),
        };
        Self {
            server: &target.server,
            address: selection.peer.address,
            authority,
            name,
            target: Some(Target {
                epoch,
                upstream: id,
                selection,
            }),
        }
    }

    /// What the client's cookie has to name the target by, when it does not yet.
    pub(super) fn mark(&self) -> Option<u64> {
        self.target
            .as_ref()
            .and_then(|target| target.selection.choice.mark)
    }

    /// A response head came.
    pub(super) fn answered(&self, status: u16, took: Duration) {
        let Some(target) = &self.target else { return };
        target.selection.choice.hold.answered(took);
        target.saw(if status == 504 {
            Seen::Timeout
        } else {
            Seen::Status(status)
        });
    }

    /// None came. The target is marked as tried.
    pub(super) fn failed(&self, refusal: Refusal, took: Duration, tried: &mut [usize]) {
        let Some(target) = &self.target else { return };
        target.selection.choice.hold.failed(took);
        mark(tried, target.selection.choice.number);
        // A name without an address, or a client that cannot spell its body, is not the target's failure.
        match refusal {
            Refusal::Upstream(504) => target.saw(Seen::Timeout),
            Refusal::Upstream(_) => target.saw(Seen::Failure),
            _ => {}
        }
    }

    /// The try was given up: none had come yet. That is no failure.
    pub(super) fn cancelled(&self, waited: Duration) {
        if let Some(target) = &self.target {
            target.selection.choice.hold.cancelled(waited);
        }
    }
}

/// Notes that a target was tried, while there is room.
fn mark(tried: &mut [usize], number: usize) {
    if let Some(mark) = tried.iter_mut().find(|mark| **mark == usize::MAX) {
        *mark = number;
    }
}

impl Target<'_> {
    fn saw(&self, seen: Seen) {
        self.epoch.saw(self.upstream, &self.selection.peer, seen);
    }
}

impl Exchange<'_> {
    /// Where the next try goes: the service's own server, or a target of its upstream, which was not tried yet where there is
    /// one. Waits where the upstream lets requests wait.
    pub(super) async fn place<'s>(
        &mut self,
        errand: &Errand<'s>,
    ) -> Result<Result<Place<'s>, Refusal>, Vanished> {
        let Errand {
            endpoint, epoch, key, ..
        } = *errand;
        let Some(id) = endpoint.upstream else {
            return Ok(Ok(Place::own(endpoint)));
        };
        let tried = &errand.tried;
        let chosen = match epoch.choose(id, key, tried) {
            Err(missed @ (Missed::Full | Missed::Unknown(_))) => {
                // Boxed: few exchanges wait, all would carry the memory.
                Box::pin(self.await_target(epoch.wait(id, key, tried, missed))).await?
            }
            chosen => chosen,
        };
        Ok(chosen
            .map(|selection| Place::of(endpoint, epoch, id, selection))
            .map_err(
                |missed| match (missed, &epoch.snapshot.upstreams[id.index()].bound) {
                    (Missed::Full, Some(bound)) => Refusal::Busy(bound.retry_after_s()),
                    (Missed::Unknown(_), _) => Refusal::Unresolved,
                    _ => Refusal::NoTarget,
                },
            ))
    }

    /// Where a second try can go while the first one is made, and its address: another target that is healthy and has room,
    /// or another address of the service's own server. Does not wait. A session stays with the target that it has.
    pub(super) fn elsewhere<'s>(
        &self,
        errand: &Errand<'s>,
        first: &Attempt<'s>,
    ) -> Option<(Place<'s>, Address)> {
        let Errand {
            endpoint, epoch, key, ..
        } = *errand;
        let taken = first.address?;
        let Some(id) = endpoint.upstream else {
            let server = endpoint.server.literal.is_none().then_some(&endpoint.server)?;
            let other = self.context.names.another(&server.host, server.port, taken)?;
            return Some((Place::own(endpoint), Address::Ip(other)));
        };
        let choice = &first.place.target.as_ref()?.selection.choice;
        let sticks = epoch.snapshot.upstreams[id.index()].algorithm == Algorithm::StickySessions;
        if sticks && choice.mark.is_none() {
            return None;
        }
        let mut passed = errand.tried;
        mark(&mut passed, choice.number);
        let selection = epoch.choose(id, key, &passed).ok()?;
        // Where no other is left, one that was tried is chosen again.
        let is_other = selection.choice.number != choice.number && !passed.contains(&selection.choice.number);
        let address = selection.peer.address.filter(|address| *address != taken)?;
        is_other.then(|| (Place::of(endpoint, epoch, id, selection), address))
    }

    /// Waits for a target, and watches whether the client is still there.
    async fn await_target<T>(&mut self, target: impl Future<Output = T>) -> Result<T, Vanished> {
        let mut target = pin!(target);
        if self.client.is_full() {
            return Ok(target.await);
        }
        match race(&mut target, self.client.wire.stirs()).await {
            First::Left(chosen) => Ok(chosen),
            First::Right(()) if self.client.is_gone().await => Err(Vanished),
            // It sends on, and is not watched from now on: what it sends is kept.
            First::Right(()) => Ok(target.await),
        }
    }
}
