//! The TLS session of a client as Kong logs it.

use super::LogTls;
use super::json::Scope;
use crate::tls::Agreed;

impl LogTls<'static> {
    /// What a session came to. A certificate that does not verify ends the handshake, so nothing is ever `FAILED`.
    pub const fn of(agreed: Agreed) -> Self {
        Self {
            version: agreed.version,
            cipher: agreed.cipher,
            client_verify: if agreed.is_mutual { "SUCCESS" } else { "NONE" },
        }
    }
}

impl LogTls<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut session = Scope::object(out);
        session.text("version", self.version.as_bytes());
        session.text("cipher", self.cipher.as_bytes());
        session.text("client_verify", self.client_verify.as_bytes());
        session.end();
    }
}
