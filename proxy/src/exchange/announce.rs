//! What a service that wants PROXY headers is told of the client, and what keeps its connections apart.

use policy::table::ProxyProtocol;

use super::Exchange;
use crate::downstream::proxy_protocol::write::{self, Header, HeaderTls};
use crate::snapshot::Endpoint;
use crate::upstream::pool::Behalf;

impl Exchange<'_> {
    /// For whom a connection to this service is opened; `None` where it does not want to know.
    pub(super) fn behalf(&self, endpoint: &Endpoint) -> Option<Behalf> {
        (endpoint.proxy_protocol != ProxyProtocol::Off).then(|| {
            self.client.peer.announced.set(true);
            Behalf {
                version: endpoint.proxy_protocol,
                connection: self.client.peer.number,
                client: self.record.client,
            }
        })
    }

    /// The header of such a connection; empty where there is none.
    pub(super) fn announcement(&self, endpoint: &Endpoint) -> Vec<u8> {
        let peer = &self.client.peer;
        // A client that was named by a field has its own port elsewhere.
        let port = if self.record.client == peer.address {
            peer.port
        } else {
            0
        };
        let header = Header {
            client: self.record.client.map(|client| (client, port)),
            local: peer.local,
            tls: peer.tls.as_ref().map(|agreed| HeaderTls {
                version: agreed.version,
                cipher: agreed.cipher,
                has_certificate: peer.certificate.is_some(),
                server_name: &peer.server_name,
                protocol: peer.protocol,
            }),
        };
        let mut bytes = Vec::new();
        write::write(endpoint.proxy_protocol, &header, &mut bytes);
        bytes
    }
}
