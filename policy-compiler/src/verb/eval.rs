//! `tollc eval`: one request against a policy, without a gateway.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use policy::Policy;
use policy::artifact::Limits;

use super::{Format, Output, Reading, print};
use crate::analyse::account::Account;
use crate::analyse::{Request, judge};
use crate::schema::KongCompat;

#[derive(Args)]
pub(super) struct Eval {
    /// An artifact, a decK file or a folder
    policy: PathBuf,
    /// Method
    method: String,
    /// URL, such as http://example.com/path?query
    url: String,
    /// Request header, `name: value`; may be given several times
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,
    /// Request body
    #[arg(short, long, value_name = "TEXT")]
    data: Option<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    client_ip: Option<IpAddr>,
    /// Judge as if every quota and budget were spent
    #[arg(long)]
    spent: bool,
    /// Whose defaults complete the files
    #[arg(long, value_enum, default_value = "3.9", value_name = "VERSION")]
    kong_compat: KongCompat,
    /// Warn instead of failing where Kong would enforce something that Tollgate does not
    #[arg(long)]
    allow_unsupported: bool,
}

impl Eval {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let request = match self.request() {
            Ok(request) => request,
            Err(words) => {
                eprintln!("error: {words}");
                return ExitCode::from(2);
            }
        };
        let policy = match self.load(output) {
            Ok(policy) => policy,
            Err(code) => return code,
        };
        let judgement = judge(&policy, &request);
        let account = Account::of(&policy, &request, &judgement);
        match output.format {
            Format::Human => print(&account.human()),
            Format::Json => print(&format!("{}\n", serde_json::json!(account))),
        }
        ExitCode::SUCCESS
    }

    fn request(&self) -> Result<Request, String> {
        let mut request = Request::new(&self.method, &self.url).map_err(|error| error.to_string())?;
        for line in &self.headers {
            request.header(line).map_err(|error| error.to_string())?;
        }
        request.body = self.data.as_ref().map(|text| text.clone().into_bytes());
        request.client = self.client_ip.or(request.client);
        request.spent = self.spent;
        Ok(request)
    }

    fn load(&self, output: Output) -> Result<Policy, ExitCode> {
        if self
            .policy
            .extension()
            .is_some_and(|extension| extension == "toll")
        {
            return load(&self.policy);
        }
        let reading = Reading {
            files: vec![self.policy.clone()],
            kong_compat: self.kong_compat,
            allow_unsupported: self.allow_unsupported,
            select_tags: Vec::new(),
            warnings_as_errors: false,
        };
        let (read, artifact) = reading.compile(0);
        if artifact.is_none() {
            output.findings(&read);
            output.document(&read, serde_json::json!({"ok": false}));
        }
        artifact.map(|artifact| artifact.policy).ok_or(ExitCode::FAILURE)
    }
}

/// Loads an artifact, or says why it is refused.
pub(super) fn load(path: &std::path::Path) -> Result<Policy, ExitCode> {
    let refuse = |words: String| {
        eprintln!("error: {}: {words}", path.display());
        ExitCode::FAILURE
    };
    let file = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    Policy::load(&file, Limits::default()).map_err(|fault| refuse(fault.to_string()))
}
