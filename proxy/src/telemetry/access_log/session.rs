//! Kong's log object for sessions of the stream subsystem (file-log of Kong 3.9 to 3.15).

use std::net::IpAddr;

use super::entry::write_client;
use super::json::Scope;
use super::{LogCertificate, LogTls, LogTry};

/// One finished session.
#[derive(Clone, Copy)]
pub struct LogSession<'e> {
    /// The TLS session, where TLS ends here.
    pub tls: Option<LogTls<'e>>,
    /// How it ended, as nginx says it: 200, 403, 502, 503.
    pub status: u16,
    /// The listener's port.
    pub server_port: u16,
    /// Bytes received from the client, without TLS.
    pub received: u64,
    /// Bytes sent to it.
    pub sent: u64,
    /// Bytes received from the upstream and sent to it; `None` when it was never reached.
    pub upstream: Option<(u64, u64)>,
    /// Until the connection to the upstream was there, in milliseconds.
    pub kong_ms: u64,
    /// All of it.
    pub session_ms: u64,
    /// Every try to reach the upstream.
    pub tries: &'e [LogTry],
    /// The route as JSON, made once per snapshot.
    pub route: &'e str,
    /// The service as JSON.
    pub service: Option<&'e str>,
    /// The client's address; `None` on a Unix socket.
    pub client_ip: Option<IpAddr>,
    /// When it began, in Unix milliseconds.
    pub started_at_ms: u64,
    /// Server name that the client asked for, if it did.
    pub server_name: Option<&'e str>,
    /// The certificate that the client showed.
    pub certificate: Option<LogCertificate<'e>>,
    /// The epoch that judged it.
    pub epoch: u64,
}

impl LogSession<'_> {
    /// Appends the object and a line break.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = Scope::object(out);
        let mut session = Scope::object(line.member(b"session"));
        if let Some(tls) = &self.tls {
            tls.write(session.member(b"tls"));
        }
        session.number("received", self.received);
        session.number("sent", self.sent);
        session.number("status", u64::from(self.status));
        session.number("server_port", u64::from(self.server_port));
        session.end();
        if let Some((received, sent)) = self.upstream {
            let mut upstream = Scope::object(line.member(b"upstream"));
            upstream.number("received", received);
            upstream.number("sent", sent);
            upstream.end();
        }
        let mut latencies = Scope::object(line.member(b"latencies"));
        latencies.number("kong", self.kong_ms);
        latencies.number("session", self.session_ms);
        latencies.end();
        let mut tries = Scope::array(line.member(b"tries"));
        self.tries.iter().for_each(|made| made.write(tries.element()));
        tries.end();
        line.raw("route", self.route);
        if let Some(service) = self.service {
            line.raw("service", service);
        }
        write_client(line.member(b"client_ip"), self.client_ip);
        line.number("started_at", self.started_at_ms);
        line.text("workspace", b"default");
        line.text("workspace_name", b"default");
        let mut own = Scope::object(line.member(b"tollgate"));
        own.number("epoch", self.epoch);
        if let Some(name) = self.server_name {
            own.text("server_name", name.as_bytes());
        }
        if let Some(certificate) = &self.certificate {
            certificate.write(own.member(b"client_certificate"));
        }
        own.end();
        line.end();
        out.push(b'\n');
    }
}
