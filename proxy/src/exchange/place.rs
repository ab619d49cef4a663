//! Where a try goes, and what it teaches about the target that it went to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::refusal::Refusal;
use crate::snapshot::{Endpoint, Epoch, Selection, Server, Upstream};
use crate::upstream::health::Seen;

/// Where a try goes. A target carries the try for as long as this lives.
pub(super) struct Place<'s> {
    pub(super) server: &'s Server,
    /// The server's address, when it is known already.
    pub(super) address: Option<SocketAddr>,
    /// What Host says.
    pub(super) authority: &'s str,
    /// What TLS asks for.
    pub(super) name: &'s Arc<str>,
    target: Option<(&'s Upstream, Selection)>,
}

impl<'s> Place<'s> {
    /// The service's own server, or a target of its upstream, which was not tried yet where there is one. `None` when
    /// there is no target to be had. `key` is what the request is hashed on.
    pub(super) fn choose(
        endpoint: &'s Endpoint,
        epoch: &'s Epoch,
        key: u64,
        tried: &[usize],
    ) -> Option<Self> {
        let Some(upstream) = endpoint.upstream else {
            return Some(Self {
                server: &endpoint.server,
                address: endpoint.server.literal,
                authority: &endpoint.authority,
                name: &endpoint.server.host,
                target: None,
            });
        };
        let selection = epoch.choose(upstream, key, tried)?;
        let upstream = &epoch.snapshot.upstreams[upstream.index()];
        let target = &upstream.targets[selection.peer.target];
        let (authority, name) = match &upstream.host_header {
            Some((header, name)) => (header, name),
            None => (
                &target.authority[usize::from(endpoint.tls.is_some())],
                &target.server.host,
            ),
        };
        Some(Self {
            server: &target.server,
            address: selection.peer.address,
            authority,
            name,
            target: Some((upstream, selection)),
        })
    }

    /// What the client's cookie has to name the target by, when it does not yet.
    pub(super) fn mark(&self) -> Option<u64> {
        self.target
            .as_ref()
            .and_then(|(_, selection)| selection.choice.mark)
    }

    /// A response head came.
    pub(super) fn answered(&self, status: u16, took: Duration) {
        let Some((upstream, selection)) = &self.target else {
            return;
        };
        selection.choice.hold.answered(took);
        if let (Some(checks), Some(health)) = (&upstream.checks, &selection.peer.health) {
            let seen = if status == 504 {
                Seen::Timeout
            } else {
                Seen::Status(status)
            };
            checks.saw(health, seen);
        }
    }

    /// None came. The target is marked as tried.
    pub(super) fn failed(&self, refusal: Refusal, took: Duration, tried: &mut [usize]) {
        let Some((upstream, selection)) = &self.target else {
            return;
        };
        selection.choice.hold.failed(took);
        if let Some(mark) = tried.iter_mut().find(|mark| **mark == usize::MAX) {
            *mark = selection.choice.number;
        }
        // A name without an address, or a client that cannot spell its body, is not the target's failure.
        let seen = match refusal {
            Refusal::Upstream(504) => Seen::Timeout,
            Refusal::Upstream(_) => Seen::Failure,
            _ => return,
        };
        if let (Some(checks), Some(health)) = (&upstream.checks, &selection.peer.health) {
            checks.saw(health, seen);
        }
    }
}
