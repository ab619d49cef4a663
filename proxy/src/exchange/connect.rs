//! Gets a connection for a try: one of the pool, a stream of a shared one, or a new one.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::Exchange;
use super::forward::{Attempt, Failure, Leg};
use super::place::Place;
use super::refusal::Refusal;
use crate::limits;
use crate::snapshot::Endpoint;
use crate::tls::{ClientTls, StreamError};
use crate::upstream::pool::{Key, Leased, Missing, Pool};
use crate::upstream::{self, ConnectError};
use crate::worker::{Address, ConnError};

impl Exchange<'_> {
    /// A connection to this address, for a request that asks for another protocol or does not.
    pub(super) async fn lease(
        &self,
        endpoint: &Endpoint,
        place: &Place<'_>,
        address: Address,
        upgrades: bool,
    ) -> Result<Leg, ConnectError> {
        let key = self.pool_key(endpoint, place, address, upgrades);
        let pooled = self.context.pool.borrow_mut().take(&key);
        let leased = match pooled {
            Some(leased) => leased,
            // Boxed: few exchanges connect, all would carry the memory.
            None => Box::pin(self.connect(endpoint, place, &key, upgrades)).await?,
        };
        Ok(Leg::new(key, leased))
    }

    /// The failure of a try that got no connection.
    pub(super) fn not_connected(&self, attempt: &Attempt<'_>, error: ConnectError) -> Failure {
        if let Some(address) = attempt.address {
            let server = attempt.place.server;
            self.context.names.failed(&server.host, server.port, address);
        }
        let status = match error {
            ConnectError::Refused(StreamError::Conn(ConnError::TimedOut)) => 504,
            _ => 502,
        };
        Failure::Upstream {
            refusal: Refusal::Upstream(status),
            progress: attempt.progress,
        }
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        place: &Place<'_>,
        key: &Key,
        upgrades: bool,
    ) -> Result<Leased, ConnectError> {
        let (tls, _) = endpoint.spoken(upgrades);
        let tls = tls.map(|tls| (tls, &**place.name));
        let announcement = self.announcement(endpoint);
        connect(&self.context.pool, key, &announcement, tls, endpoint.connect).await
    }

    /// What makes a connection to this address of a service what it is.
    pub(super) fn pool_key(
        &self,
        endpoint: &Endpoint,
        place: &Place<'_>,
        address: Address,
        upgrades: bool,
    ) -> Key {
        let (tls, http) = endpoint.spoken(upgrades);
        Key {
            address,
            tls: tls.map(|tls| (tls.identity, Arc::clone(place.name))),
            http,
            behalf: self.behalf(endpoint),
        }
    }
}

/// Opens a connection, or waits for a stream of one that another exchange opens.
pub(super) async fn connect(
    pool: &RefCell<Pool>,
    key: &Key,
    announcement: &[u8],
    tls: Option<(&ClientTls, &str)>,
    within: Duration,
) -> Result<Leased, ConnectError> {
    let mut waits = 0;
    let opener = loop {
        let missing = pool.borrow_mut().missing(key, waits < limits::H2_WAITS);
        match missing {
            Missing::Wanted(opener) => break opener,
            Missing::Awaited(waiting) => waiting.wait().await?,
        }
        waits += 1;
        let shared = pool.borrow_mut().take(key);
        if let Some(leased) = shared {
            return Ok(leased);
        }
    };
    match upstream::connect(key.address, announcement, tls, within).await {
        Ok(stream) => pool.borrow_mut().start(key, stream, opener),
        Err(error) => {
            opener.failed(error);
            Err(error)
        }
    }
}
