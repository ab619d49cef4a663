//! The real openssl: a TLS client that tells what it saw, and a responder that signs OCSP responses.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::certificate::{Authority, Certificate};
use crate::process::{Process, program};
use crate::scratch::Scratch;

const PATIENCE: Duration = Duration::from_secs(20);

/// One run of `openssl`.
pub struct OpenSsl {
    scratch: Scratch,
    args: Vec<String>,
    input: Vec<u8>,
}

impl OpenSsl {
    /// A run with these arguments.
    ///
    /// # Errors
    /// When no directory for it can be made.
    pub fn new<A: AsRef<str>>(args: impl IntoIterator<Item = A>) -> Result<Self> {
        Ok(Self {
            scratch: Scratch::new()?,
            args: args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
            input: Vec::new(),
        })
    }

    /// `openssl s_client` to an address, asking for a server name unless it is empty, which sends `input` and reads
    /// until the other side ends.
    ///
    /// # Errors
    /// As [`OpenSsl::new`].
    pub fn client(addr: std::net::SocketAddr, name: &str, input: &[u8]) -> Result<Self> {
        let mut run = Self::new(["s_client", "-ign_eof", "-connect", &addr.to_string()])?;
        match name {
            "" => run.args.push("-noservername".to_owned()),
            name => run.args.extend(["-servername".to_owned(), name.to_owned()]),
        }
        run.input = input.to_vec();
        Ok(run)
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<str>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Shows this certificate to the server.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn showing(self, certificate: &Certificate) -> Result<Self> {
        let chain = self.scratch.write("client.pem", &certificate.certificate)?;
        let key = self.scratch.write("client.key", &certificate.key)?;
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        Ok(self.args(["-cert", &chain, "-key", &key]))
    }

    /// Runs it. Gives whether it succeeded, and all that it printed.
    ///
    /// # Errors
    /// When it does not end.
    pub fn run(self) -> Result<(bool, String)> {
        let out = self.scratch.path().join("out");
        let mut command = Process::command(program("openssl")?);
        command.args(&self.args).stdout(std::fs::File::create(&out)?);
        let log = self.scratch.path().join("err");
        let mut process = Process::start_piped(command, &log)?;
        // A server that refuses may be gone before all is sent.
        let _ = process.stdin().context("no input")?.write_all(&self.input);
        let status = process.wait(PATIENCE)?;
        let bytes = [std::fs::read(&out)?, process.log().into_bytes()].concat();
        Ok((status.success(), String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl Authority {
    /// An OCSP response about one of its certificates, in DER: good, or revoked.
    ///
    /// # Errors
    /// When openssl does not make one.
    pub fn ocsp(&self, about: &Certificate, good: bool, scratch: &Scratch) -> Result<PathBuf> {
        let file = |path: &Path| path.display().to_string();
        let (ca, key) = (
            file(&scratch.write("ocsp-ca.pem", self.pem())?),
            file(&scratch.write("ocsp-ca.key", self.key())?),
        );
        let own = file(&scratch.write("ocsp-own.pem", &about.certificate)?);
        let run = |args: &[&str]| -> Result<String> {
            let (good, printed) = OpenSsl::new(args)?.run()?;
            ensure!(good, "openssl {args:?}: {printed}");
            Ok(printed)
        };
        let serial = run(&["x509", "-in", &own, "-noout", "-serial"])?;
        let serial = serial.trim().trim_start_matches("serial=").to_owned();
        let state = if good {
            "V\t401231235959Z\t"
        } else {
            "R\t401231235959Z\t200101000000Z"
        };
        let index = file(&scratch.write("index", format!("{state}\t{serial}\tunknown\t/CN=x\n"))?);
        let (request, response) = (
            file(&scratch.path().join("ocsp.req")),
            scratch
                .path()
                .join(if good { "good.ocsp" } else { "revoked.ocsp" }),
        );
        run(&[
            "ocsp",
            "-issuer",
            &ca,
            "-cert",
            &own,
            "-reqout",
            &request,
            "-no_nonce",
        ])?;
        run(&[
            "ocsp",
            "-index",
            &index,
            "-CA",
            &ca,
            "-rsigner",
            &ca,
            "-rkey",
            &key,
            "-reqin",
            &request,
            "-respout",
            &file(&response),
            "-ndays",
            "1",
        ])?;
        Ok(response)
    }
}
