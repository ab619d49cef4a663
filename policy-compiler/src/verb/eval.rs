//! `tollc eval`: one request against a policy, without a gateway.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use policy::Policy;
use policy::artifact::Limits;
use policy::path::{EmptySegments, EncodedSeparators, NotAChoice, Parameters, PathRules};

use super::{Format, Output, Read, Reading, print};
use crate::analyse::account::Account;
use crate::analyse::{Request, judge};
use crate::diagnostic::Diagnostic;
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
    /// What the gateway does about %2F and %5C in a path
    #[arg(long, default_value = "reject", value_parser = choice::<EncodedSeparators>(EncodedSeparators::NAMES))]
    encoded_slashes: EncodedSeparators,
    /// What the gateway does about `;` parameters in a path
    #[arg(long, default_value = "reject", value_parser = choice::<Parameters>(Parameters::NAMES))]
    path_parameters: Parameters,
    /// What the gateway does about // in a path
    #[arg(long, default_value = "merge", value_parser = choice::<EmptySegments>(EmptySegments::NAMES))]
    empty_segments: EmptySegments,
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

/// A flag that takes one of `names`.
fn choice<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = NotAChoice> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

impl Eval {
    pub(super) fn run(self, output: Output) -> ExitCode {
        let request = match self.request() {
            Ok(request) => request,
            Err(words) => return output.usage(&words),
        };
        let (read, policy) = self.load();
        let Some(policy) = policy else {
            return output.failure(&read);
        };
        let judgement = judge(&policy, &request);
        let account = Account::of(&policy, &request, &judgement);
        if output.format == Format::Human {
            print(&account.human());
        }
        let mut document = serde_json::json!(account);
        document["ok"] = true.into();
        output.document(&read, document);
        ExitCode::SUCCESS
    }

    fn request(&self) -> Result<Request, String> {
        let mut request =
            Request::under(self.paths(), &self.method, &self.url).map_err(|error| error.to_string())?;
        for line in &self.headers {
            request.header(line).map_err(|error| error.to_string())?;
        }
        request.body = self.data.as_ref().map(|text| text.clone().into_bytes());
        request.client = self.client_ip.or(request.client);
        request.spent = self.spent;
        Ok(request)
    }

    fn paths(&self) -> PathRules {
        PathRules {
            empty_segments: self.empty_segments,
            parameters: self.path_parameters,
            encoded_separators: self.encoded_slashes,
        }
    }

    fn load(&self) -> (Read, Option<Policy>) {
        let extension = self.policy.extension();
        if extension.is_some_and(|extension| extension == "toll") {
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
        (read, artifact.map(|artifact| artifact.policy))
    }
}

/// Loads an artifact, or reports why it is refused.
pub(super) fn load(path: &Path) -> (Read, Option<Policy>) {
    let read = Read::default();
    let refuse = |code, words: String| {
        let words = format!("{}: {words}", path.display());
        read.report.push(Diagnostic::error(code, words));
    };
    let file = std::fs::read(path).map_err(|error| refuse("unreadable-file", error.to_string()));
    let policy = file.and_then(|file| {
        Policy::load(&file, Limits::default()).map_err(|fault| refuse("unsound-artifact", fault.to_string()))
    });
    (read, policy.ok())
}
