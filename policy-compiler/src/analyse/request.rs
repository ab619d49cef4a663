//! A request in memory, as the VM sees one. No quota was touched before, unless all are said to be spent.

use std::net::IpAddr;

use policy::Policy;
use policy::field::{BodyLength, Exchange, Found, Method, Span, Taken};
use policy::path::{PathError, PathRules, canonicalise};
use policy::route::Match;
use policy::table::{Budget, Id, Model, Quota};
use policy::vm::State;

use super::websocket::OPENING;
use super::{Asked, body, budget, template};

/// A request and what it meets.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Method name.
    pub method: String,
    /// Lower-case host without port; empty for none.
    pub host: String,
    /// Port of the Host header, or of the listener.
    pub port: u16,
    /// Canonical path; as written if it has none.
    pub path: String,
    /// Query without `?`.
    pub query: String,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Server name of the TLS handshake.
    pub server_name: String,
    /// Header lines: lower-case name and value.
    pub headers: Vec<(String, String)>,
    /// The body; None for none.
    pub body: Option<Vec<u8>>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Whether every quota and budget is spent.
    pub spent: bool,
    /// Why the gateway answers 400 before it looks for a route.
    pub malformed: Option<Malformed>,
}

/// What the gateway refuses whatever the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The method is no token (RFC 9110 §9.1).
    Method,
    /// The path has no canonical form.
    Path(PathError),
    /// The query has a control character, a space or a byte outside ASCII.
    Query,
    /// The name of a header is no token, or its value has a control character (RFC 9110 §5.1, §5.5).
    Header,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Method => "the method is no token",
            Self::Path(error) => return error.fmt(f),
            Self::Query => "the query has a character that must be escaped",
            Self::Header => "a header name is no token, or a value has a control character",
        })
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_good)
}

/// Why a URL is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Neither `http://` nor `https://`, nor `ws://` or `wss://`.
    Scheme,
    /// No host, or a port that is none.
    Authority,
    /// Without `name: value`.
    Header,
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a URL starts with http://, https://, ws:// or wss://",
            Self::Authority => "the URL needs a host, and a port below 65536 if any",
            Self::Header => "a header is written `name: value`",
        })
    }
}

impl std::error::Error for RequestError {}

impl Request {
    /// A request for a URL, to a gateway with the default rules for paths. One for ws or wss opens a WebSocket.
    ///
    /// # Errors
    /// [`RequestError`] for what is no URL of these schemes.
    pub fn new(method: &str, url: &str) -> Result<Self, RequestError> {
        Self::under(PathRules::default(), method, url)
    }

    /// A request for a URL, to a gateway with these rules for paths.
    ///
    /// # Errors
    /// [`RequestError`] for what is no URL of these schemes.
    pub fn under(rules: PathRules, method: &str, url: &str) -> Result<Self, RequestError> {
        let (scheme, rest) = url.split_once("://").ok_or(RequestError::Scheme)?;
        let (secure, default_port, opening) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, 80, &[][..]),
            "https" => (true, 443, &[][..]),
            "ws" => (false, 80, &OPENING[..]),
            "wss" => (true, 443, &OPENING[..]),
            _ => return Err(RequestError::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_error| RequestError::Authority)?)
            }
            _ => (authority, default_port),
        };
        if host.is_empty() {
            return Err(RequestError::Authority);
        }
        let host = host.to_ascii_lowercase();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut canonical = Vec::new();
        let refused = canonicalise(path.as_bytes(), rules, &mut canonical).err();
        let malformed = if !is_token(method) {
            Some(Malformed::Method)
        } else if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
            Some(Malformed::Query)
        } else {
            refused.map(Malformed::Path)
        };
        let mut headers = vec![("host".to_owned(), authority.to_ascii_lowercase())];
        headers.extend(
            opening
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Ok(Self {
            malformed,
            method: method.to_owned(),
            server_name: if secure { host.clone() } else { String::new() },
            headers,
            host,
            port,
            path: match refused {
                None => String::from_utf8_lossy(&canonical).into_owned(),
                Some(_) => path.to_owned(),
            },
            query: query.to_owned(),
            secure,
            ..Self::default()
        })
    }

    /// Adds a header line, written `name: value`. A Host line also changes where the request goes.
    ///
    /// # Errors
    /// [`RequestError`] for other texts.
    pub fn header(&mut self, line: &str) -> Result<(), RequestError> {
        let (name, value) = line.split_once(':').ok_or(RequestError::Header)?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let is_control = |byte: u8| byte != b'\t' && (byte < b' ' || byte == 0x7f);
        if !is_token(&name) || value.bytes().any(is_control) {
            self.malformed = self.malformed.or(Some(Malformed::Header));
        }
        if name == "host" {
            self.headers.retain(|(name, _)| name != "host");
            let (host, port) = match value.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().map_err(|_error| RequestError::Authority)?),
                None => (value, self.port),
            };
            self.host = host.to_ascii_lowercase();
            self.port = port;
        }
        self.headers.push((name, value.to_owned()));
        Ok(())
    }

    /// Every value of a header.
    pub fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| &**value)
    }

    /// Decoded values of a query argument; those without `=` are left out.
    pub fn arguments(&self, name: &str) -> Vec<String> {
        body::arguments(self.query.as_bytes(), name)
    }

    /// Whether a query argument is there, with or without a value.
    pub fn has_argument(&self, name: &str) -> bool {
        body::names(self.query.as_bytes()).any(|argument| argument == name)
    }

    /// Decoded values of a top-level member of the body, by its media type.
    pub fn members(&self, name: &str) -> Vec<String> {
        let kind = self.values("content-type").next().unwrap_or_default();
        body::members(self.body.as_deref().unwrap_or_default(), kind, name)
    }

    /// The request as an exchange with a policy, for one run.
    pub fn exchange<'r>(&'r self, policy: &'r Policy) -> InMemory<'r> {
        InMemory {
            request: self,
            policy,
            matched: None,
            model: None,
            model_name: None,
            found: Vec::new(),
            quotas: Vec::new(),
            budgets: Vec::new(),
        }
    }
}

/// One exchange of a request; keeps what was looked up and taken.
pub struct InMemory<'r> {
    request: &'r Request,
    policy: &'r Policy,
    /// The route, once it is found.
    pub matched: Option<Match>,
    /// The model that the request's head has chosen.
    model: Option<Id<Model>>,
    /// Its name, where that is made of parts of the request.
    pub model_name: Option<String>,
    found: Vec<Vec<u8>>,
    /// Quotas that were asked, in order.
    pub quotas: Vec<Id<Quota>>,
    /// Budgets that were asked, in order.
    pub budgets: Vec<Asked>,
}

impl InMemory<'_> {
    const fn taken(&self) -> Taken {
        if self.request.spent {
            Taken::Denied
        } else {
            Taken::Admitted
        }
    }

    /// Chooses a model. False if its name looks up what the request does not have.
    pub fn call(&mut self, model: Id<Model>) -> bool {
        self.model = Some(model);
        let parts = self.policy.get(model).name_parts;
        if !parts.is_empty() {
            self.model_name = template::render(self.policy, parts, self.request, self.matched);
        }
        parts.is_empty() || self.model_name.is_some()
    }

    fn keep(&mut self, values: Vec<String>) -> Found {
        let several = values.len() > 1;
        let Some(value) = values.into_iter().next() else {
            return Found::Absent;
        };
        let Ok(offset) = u32::try_from(self.found.len()) else {
            return Found::Absent;
        };
        let span = Span {
            source: FOUND,
            offset,
            len: u32::try_from(value.len()).unwrap_or(u32::MAX),
        };
        self.found.push(value.into_bytes());
        if several {
            Found::Several(span)
        } else {
            Found::Once(span)
        }
    }
}

/// Spans into header lines: the offset is the line's number.
const HEADERS: u8 = 0;
/// Spans into looked up values: the offset is the value's number.
const FOUND: u8 = 1;

impl Exchange for InMemory<'_> {
    fn method(&self) -> Method {
        Method::from_name(self.request.method.as_bytes())
    }
    fn method_name(&self) -> &[u8] {
        self.request.method.as_bytes()
    }
    fn host(&self) -> &[u8] {
        self.request.host.as_bytes()
    }
    fn port(&self) -> u16 {
        self.request.port
    }
    fn path(&self) -> &[u8] {
        self.request.path.as_bytes()
    }
    fn secure(&self) -> bool {
        self.request.secure
    }
    fn server_name(&self) -> &[u8] {
        self.request.server_name.as_bytes()
    }
    fn header(&self, name: &str) -> Found {
        let mut lines = (0..)
            .zip(&self.request.headers)
            .filter(|(_, (known, _))| known == name);
        let Some((offset, (_, value))) = lines.next() else {
            return Found::Absent;
        };
        let span = Span {
            source: HEADERS,
            offset,
            len: u32::try_from(value.len()).unwrap_or(u32::MAX),
        };
        if lines.next().is_some() {
            Found::Several(span)
        } else {
            Found::Once(span)
        }
    }
    fn any_header(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let name = name.to_ascii_lowercase();
        self.request.values(&name).any(|value| test(value.as_bytes()))
    }
    fn query(&mut self, name: &str) -> Found {
        let values = self.request.arguments(name);
        self.keep(values)
    }
    fn has_argument(&self, name: &str) -> bool {
        self.request.has_argument(name)
    }
    fn body_argument(&mut self, name: &str) -> Found {
        let values = self.request.members(name);
        self.keep(values)
    }
    fn bytes(&self, span: Span) -> &[u8] {
        let at = span.offset as usize;
        match span.source {
            HEADERS => self
                .request
                .headers
                .get(at)
                .map_or(b"", |(_, value)| value.as_bytes()),
            _ => self.found.get(at).map_or(b"", Vec::as_slice),
        }
    }
    fn client_address(&self) -> Option<u128> {
        self.request.client.map(|address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        })
    }
    fn body_length(&self) -> BodyLength {
        match &self.request.body {
            Some(_) if self.request.values("transfer-encoding").next().is_some() => BodyLength::Unknown,
            Some(body) => BodyLength::Known(body.len() as u64),
            None => BodyLength::None,
        }
    }
    fn expects_continue(&self) -> bool {
        self.request
            .values("expect")
            .any(|value| value.eq_ignore_ascii_case("100-continue"))
    }
    fn take(&mut self, quota: Id<Quota>, _: &State) -> Taken {
        self.quotas.push(quota);
        self.taken()
    }
    fn reserve(&mut self, budget: Id<Budget>, state: &State) -> Taken {
        let model = self.model.map(|model| (model, self.model_name.as_deref()));
        let rules = budget::rules(self.policy, budget, self.request, state, model);
        let taken = if rules.is_empty() {
            Taken::Admitted
        } else {
            self.taken()
        };
        self.budgets.push(Asked { budget, rules });
        taken
    }
}
