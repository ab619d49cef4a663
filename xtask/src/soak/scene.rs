//! What the gateway stands between: its policy, its upstreams, its certificate.

use std::path::Path;

use anyhow::Result;
use tests::{Authority, Certificate, Driver, Gateway, Nginx, Raw};

use super::origin::Origins;

/// The 101 of the upstream that echoes.
const AGREE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// Everything around the gateway.
pub(crate) struct Scene {
    /// Of good traffic: two targets of one upstream.
    pub(crate) origins: Origins,
    /// Of the clients that trust the gateway.
    pub(crate) authority: Authority,
    certificate: Certificate,
    /// Of tunnels.
    echo: Raw,
    /// Of what attacks get through.
    nginx: Nginx,
}

impl Scene {
    /// Starts the upstreams.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) fn start() -> Result<Self> {
        let authority = Authority::new()?;
        Ok(Self {
            origins: Origins::start()?,
            certificate: authority.issue(&["localhost"])?,
            authority,
            echo: Raw::echo(AGREE)?,
            nginx: Nginx::start("location / { return 200 hello; }")?,
        })
    }

    /// Starts a gateway.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn gateway(&self, programs: &Path, driver: &str) -> Result<Gateway> {
        let driver = match driver {
            "epoll" => Driver::Epoll,
            _ => Driver::Uring,
        };
        let builder = Gateway::builder(self.policy(0)).programs(programs).driver(driver);
        builder
            .env("SOAK_KEY", &self.certificate.key)
            .tls()
            .quiet()
            .start()
    }

    /// The policy, in as many versions as there are numbers. It holds no secret, so that one file is all that is replaced.
    pub(crate) fn policy(&self, version: u32) -> String {
        let [a, b] = self.origins.addrs();
        let indented = |pem: &str| {
            pem.lines()
                .map(|line| format!("    {line}\n"))
                .collect::<String>()
        };
        format!(
            "_format_version: \"3.0\"\n\
             upstreams:\n- {{name: good.test, targets: [{{target: \"{a}\"}}, {{target: \"{b}\"}}]}}\n\
             services:\n\
             - name: good\n  url: http://good.test:80\n  tags: [\"version-{version}\", \"tollgate:priority=critical\"]\n  \
             routes: [{{name: good, paths: [/soak/good]}}]\n\
             - name: echo\n  url: {echo}\n  tags: [\"tollgate:priority=critical\"]\n  \
             routes: [{{name: echo, paths: [/soak/echo]}}]\n\
             - name: rest\n  url: http://{nginx}\n  routes: [{{name: rest, paths: [/]}}]\n\
             plugins:\n- {{name: prometheus, config: {{status_code_metrics: true}}}}\n\
             certificates:\n- cert: |\n{cert}  key: \"{{vault://env/soak-key}}\"\n  snis: [{{name: localhost}}]\n",
            echo = self.echo.url(),
            nginx = self.nginx.addr(),
            cert = indented(&self.certificate.certificate),
        )
    }
}
