//! An exchange in memory. It holds itself to the trait's words: names come in lower case, the body only after the
//! question was answered.

use std::collections::{BTreeMap, BTreeSet};

use policy::field::{BodyLength, Exchange, Found, Method, Span, Taken};
use policy::table::{Budget, Id, Quota};
use policy::vm::State;

#[derive(Clone, Debug)]
struct Field {
    name: String,
    span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) secure: bool,
    pub(crate) server_name: String,
    pub(crate) address: Option<u128>,
    pub(crate) length: BodyLength,
    pub(crate) expects_continue: bool,
    /// Whether the question for the body was answered.
    pub(crate) body_read: bool,
    /// Requests left of a quota; quotas that are not named here never deny.
    pub(crate) left: BTreeMap<u32, u32>,
    /// Budgets that are spent.
    pub(crate) spent: BTreeSet<u32>,
    /// Quotas and budgets asked, in order.
    pub(crate) asked: Vec<(&'static str, u32)>,
    headers: Vec<Field>,
    arguments: Vec<Field>,
    members: Vec<Field>,
    bytes: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, host: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            host: host.to_owned(),
            port: 80,
            path: path.to_owned(),
            secure: false,
            server_name: String::new(),
            address: Some(0xffff_c000_0201),
            length: BodyLength::None,
            expects_continue: false,
            body_read: false,
            left: BTreeMap::new(),
            spent: BTreeSet::new(),
            asked: Vec::new(),
            headers: Vec::new(),
            arguments: Vec::new(),
            members: Vec::new(),
            bytes: Vec::new(),
        }
    }

    fn store(&mut self, source: u8, name: &str, value: &[u8]) -> Field {
        let offset = u32::try_from(self.bytes.len()).expect("requests are short");
        self.bytes.extend_from_slice(value);
        Field {
            name: name.to_owned(),
            span: Span {
                source,
                offset,
                len: u32::try_from(value.len()).expect("requests are short"),
            },
        }
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let field = self.store(0, &name.to_ascii_lowercase(), value.as_ref());
        self.headers.push(field);
        self
    }

    pub(crate) fn argument(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let field = self.store(1, name, value.as_ref());
        self.arguments.push(field);
        self
    }

    pub(crate) fn member(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let field = self.store(Span::SOURCE_MAX, name, value.as_ref());
        self.members.push(field);
        self
    }

    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    pub(crate) fn tls(mut self, server_name: &str) -> Self {
        self.secure = true;
        self.server_name = server_name.to_owned();
        self
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        let address: std::net::IpAddr = address.parse().expect("an address");
        self.address = Some(match address {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            std::net::IpAddr::V6(v6) => v6.to_bits(),
        });
        self
    }

    pub(crate) fn body(mut self, length: BodyLength) -> Self {
        self.length = length;
        self
    }
}

fn look_up(fields: &[Field], name: &str) -> Found {
    let mut found = fields.iter().filter(|field| field.name == name);
    match (found.next(), found.next()) {
        (None, _) => Found::Absent,
        (Some(first), None) => Found::Once(first.span),
        (Some(first), Some(_)) => Found::Several(first.span),
    }
}

impl Exchange for Request {
    fn method(&self) -> Method {
        Method::from_name(self.method.as_bytes())
    }

    fn method_name(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn secure(&self) -> bool {
        self.secure
    }

    fn server_name(&self) -> &[u8] {
        self.server_name.as_bytes()
    }

    fn header(&self, name: &str) -> Found {
        look_up(&self.headers, name)
    }

    fn any_header(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers
            .iter()
            .filter(|field| field.name == name)
            .any(|field| test(self.bytes(field.span)))
    }

    fn query(&mut self, name: &str) -> Found {
        look_up(&self.arguments, name)
    }

    fn has_argument(&self, name: &str) -> bool {
        look_up(&self.arguments, name) != Found::Absent
    }

    fn body_argument(&mut self, name: &str) -> Found {
        assert!(
            self.body_read,
            "a body argument was asked for before the body was read"
        );
        look_up(&self.members, name)
    }

    fn bytes(&self, span: Span) -> &[u8] {
        &self.bytes[span.offset as usize..][..span.len as usize]
    }

    fn client_address(&self) -> Option<u128> {
        self.address
    }

    fn body_length(&self) -> BodyLength {
        self.length
    }

    fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    fn take(&mut self, quota: Id<Quota>, _: &State) -> Taken {
        self.asked.push(("take", quota.number()));
        match self.left.get_mut(&quota.number()) {
            Some(0) => Taken::Denied,
            Some(left) => {
                *left -= 1;
                Taken::Admitted
            }
            None => Taken::Admitted,
        }
    }

    fn reserve(&mut self, budget: Id<Budget>, _: &State) -> Taken {
        self.asked.push(("reserve", budget.number()));
        if self.spent.contains(&budget.number()) {
            Taken::Denied
        } else {
            Taken::Admitted
        }
    }
}
