//! A session as policy sees it: an address. Implements [`policy::field::Exchange`]; whatever else a program asks for is
//! not there, and what it would count is denied: no program that tollc writes for a session does either.

use policy::field::{BodyLength, Exchange, Found, Method, Span, Taken};
use policy::table::{Budget, Id, Quota};
use policy::vm::State;

/// The client's address, IPv4 mapped; `None` on a Unix socket.
pub(super) struct View(pub(super) Option<u128>);

impl Exchange for View {
    fn method(&self) -> Method {
        Method::OTHER
    }

    fn method_name(&self) -> &[u8] {
        b""
    }

    fn host(&self) -> &[u8] {
        b""
    }

    fn port(&self) -> u16 {
        0
    }

    fn path(&self) -> &[u8] {
        b"/"
    }

    fn secure(&self) -> bool {
        false
    }

    fn server_name(&self) -> &[u8] {
        b""
    }

    fn header(&self, _name: &str) -> Found {
        Found::Absent
    }

    fn any_header(&self, _name: &str, _test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }

    fn query(&mut self, _name: &str) -> Found {
        Found::Absent
    }

    fn has_argument(&self, _name: &str) -> bool {
        false
    }

    fn body_argument(&mut self, _name: &str) -> Found {
        Found::Absent
    }

    fn bytes(&self, _span: Span) -> &[u8] {
        b""
    }

    fn client_address(&self) -> Option<u128> {
        self.0
    }

    fn body_length(&self) -> BodyLength {
        BodyLength::None
    }

    fn expects_continue(&self) -> bool {
        false
    }

    fn take(&mut self, _quota: Id<Quota>, _state: &State) -> Taken {
        Taken::Denied
    }

    fn reserve(&mut self, _budget: Id<Budget>, _state: &State) -> Taken {
        Taken::Denied
    }
}
