//! The real nginx as origin, with a configuration written for one test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::certificate::Certificate;
use crate::process::{Process, is_root, program};
use crate::scratch::Scratch;

/// A running nginx with one worker.
pub struct Nginx {
    plain: SocketAddr,
    http2: SocketAddr,
    tls: Option<SocketAddr>,
    tls_http2: Option<SocketAddr>,
    process: Process,
    scratch: Scratch,
}

impl Nginx {
    /// An origin whose server block holds `locations`, for example `location / { return 200 "hello"; }`. Files for it
    /// may be written through [`Nginx::scratch`], which is the document root.
    ///
    /// # Errors
    /// When nginx is not installed or does not start.
    pub fn start(locations: &str) -> Result<Self> {
        Self::launch(locations, None)
    }

    /// The same, also over TLS with `certificate`.
    ///
    /// # Errors
    /// When nginx is not installed or does not start.
    pub fn start_tls(locations: &str, certificate: &Certificate) -> Result<Self> {
        Self::launch(locations, Some(certificate))
    }

    /// Where it listens in plain text.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.plain
    }

    /// Where it speaks HTTP/2 in plain text, with prior knowledge.
    #[must_use]
    pub fn http2_addr(&self) -> SocketAddr {
        self.http2
    }

    /// Where it listens with TLS.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// Where it offers HTTP/2 as well, through TLS.
    #[must_use]
    pub fn tls_http2_addr(&self) -> Option<SocketAddr> {
        self.tls_http2
    }

    /// Its directory, which is also the document root.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The access log: one line per request, `METHOD URI PROTOCOL STATUS`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn access_log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.scratch.path().join("access.log"))?)
    }

    /// The server's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn launch(locations: &str, certificate: Option<&Certificate>) -> Result<Self> {
        let scratch = Scratch::new()?;
        let dir = scratch.path().display().to_string();
        let mut server = String::new();
        let (plain, http2) = (free_port()?, free_port()?);
        server.push_str(&format!("listen {plain} reuseport;\nlisten {http2} http2;\n"));
        let (tls, tls_http2) = match certificate {
            None => (None, None),
            Some(certificate) => {
                scratch.write("server.pem", &certificate.certificate)?;
                scratch.write("server.key", &certificate.key)?;
                let (addr, both) = (free_port()?, free_port()?);
                server.push_str(&format!(
                    "listen {addr} ssl;\nlisten {both} ssl http2;\nssl_certificate {dir}/server.pem;\nssl_certificate_key {dir}/server.key;\n"
                ));
                (Some(addr), Some(both))
            }
        };
        // A worker of root's nginx would drop to an account that may not read the scratch directory.
        let user = if is_root() { "user root;" } else { "" };
        let config = format!(
            "daemon off; {user} worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ log_format t '$request_method $request_uri $server_protocol $status'; access_log {dir}/access.log t;\n\
             client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;\n\
             uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi; keepalive_requests 1000000;\n\
             server {{ root {dir}; {server} {locations} }} }}\n"
        );
        let file = scratch.write("nginx.conf", config)?;
        let mut command = Process::command(program("nginx")?);
        command
            .arg("-p")
            .arg(scratch.path())
            .arg("-c")
            .arg(file)
            .arg("-e")
            .arg(scratch.path().join("error.log"));
        let mut process = Process::start(command, &scratch.path().join("nginx.out"))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(plain).is_err() {
            if !process.is_running() || Instant::now() > deadline {
                let log = std::fs::read_to_string(scratch.path().join("error.log")).unwrap_or_default();
                bail!("nginx did not start: {}{log}", process.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            plain,
            http2,
            tls,
            tls_http2,
            process,
            scratch,
        })
    }
}

/// A port that was free a moment ago. nginx cannot report the port it got, so port 0 is no use to it.
fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
