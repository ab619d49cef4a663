//! DNS messages: questions as they go out, and what an answer says to the question that was asked.
//!
//! Enters: a name and a type, later the bytes of a datagram. Leaves: a [`Reply`]. What does not answer this very
//! question (id, name, type) is [`Foreign`], whoever sent it. No I/O. Only what the question leads to is read: records of
//! other names, which a server may add and an attacker may invent, are not.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::ToName as _;
use domain::base::record::ParsedRecord;
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::rdata::{A, Aaaa, Cname, Soa, Srv};

use crate::limits;
use crate::settable::{self, Limit};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Servers with port, priority and weight (RFC 2782).
    Srv,
}

impl Kind {
    /// Its name in zone files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
        }
    }

    const fn rtype(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Srv => Rtype::SRV,
        }
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    name: Name<Vec<u8>>,
    kind: Kind,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Addresses, and for how many seconds: the shortest time of all records that lead to them.
    Addresses(Vec<IpAddr>, u32),
    /// Servers, likewise.
    Services(Vec<Service>, u32),
    /// The name is another's, of which the server says nothing.
    Alias(Box<str>, u32),
    /// There is no such record, or no such name at all. Seconds for which that may be believed, if the server says so
    /// (RFC 2308 §5).
    Nothing {
        /// Whether the name has records of another type.
        exists: bool,
        /// Seconds.
        ttl_s: Option<u32>,
    },
    /// The answer was too long for a datagram.
    Truncated,
    /// The server does not understand the question: it may be too old for EDNS.
    NotUnderstood,
    /// The server cannot or does not want to answer, or answers nonsense.
    Failed,
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Lower ones are used first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host name.
    pub target: Box<str>,
}

/// Bytes that are not an answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign;

impl Question {
    /// A question about an absolute name. `None` for what cannot be a name: an empty label, one of more than 63 bytes,
    /// more than 255 bytes, or other characters than printable ASCII.
    pub fn new(name: &str, kind: Kind) -> Option<Self> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let name = Name::vec_from_str(name).ok()?;
        (!name.is_root()).then_some(Self { name, kind })
    }

    /// The question as bytes, with recursion desired, and with a larger datagram allowed if `edns` (RFC 6891).
    pub fn write(&self, id: u16, edns: bool) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        // A vector takes whatever is pushed: one question and one option are far below a message's 64 KiB.
        let _ = builder.push((&self.name, self.kind.rtype(), Class::IN));
        let mut builder = builder.additional();
        if edns {
            let _ = builder.opt(|opt| {
                opt.set_udp_payload_size(limits::DNS_DATAGRAM_BYTES);
                Ok(())
            });
        }
        builder.finish()
    }

    /// What `bytes` answer to the question that was sent with `id`.
    ///
    /// # Errors
    /// [`Foreign`] when they answer another question, or none.
    pub fn read(&self, id: u16, bytes: &[u8]) -> Result<Reply, Foreign> {
        let message = Message::from_slice(bytes).map_err(|_error| Foreign)?;
        let header = message.header();
        if !header.qr() || header.id() != id || header.opcode() != Opcode::QUERY {
            return Err(Foreign);
        }
        // Servers that do not understand a question may not repeat it.
        let not_understood = [Rcode::FORMERR, Rcode::NOTIMP].contains(&header.rcode());
        if not_understood && message.header_counts().qdcount() == 0 {
            return Ok(Reply::NotUnderstood);
        }
        let asked = message.sole_question().map_err(|_error| Foreign)?;
        let same = asked.qname().name_eq(&self.name);
        if !same || asked.qtype() != self.kind.rtype() || asked.qclass() != Class::IN {
            return Err(Foreign);
        }
        Ok(match header.rcode() {
            _ if not_understood => Reply::NotUnderstood,
            _ if header.tc() => Reply::Truncated,
            Rcode::NOERROR => self.found(message).unwrap_or(Reply::Failed),
            Rcode::NXDOMAIN => Reply::Nothing {
                exists: false,
                ttl_s: negative_ttl(message).unwrap_or_default(),
            },
            _ => Reply::Failed,
        })
    }

    /// Follows the aliases of the answer to the records that were asked for.
    fn found(&self, message: &Message<[u8]>) -> Result<Reply, ParseError> {
        let mut name = self.name.clone();
        let mut ttl_s = u32::MAX;
        for aliases in 0..=limits::DNS_ALIASES {
            let (mut addresses, mut services) = (Vec::new(), Vec::new());
            let mut alias = None;
            for record in message.answer()? {
                let record = record?;
                if record.class() != Class::IN || !record.owner().name_eq(&name) {
                    continue;
                }
                if record.rtype() == Rtype::CNAME {
                    alias = Some((target(&record)?, seconds(record.ttl())));
                } else if record.rtype() == self.kind.rtype() {
                    if addresses.len() + services.len() >= settable::dns_records() {
                        settable::reached(Limit::DnsRecords);
                        break;
                    }
                    ttl_s = ttl_s.min(seconds(record.ttl()));
                    match self.kind {
                        Kind::A => addresses.extend(data::<A>(&record)?.map(|it| IpAddr::V4(it.addr()))),
                        Kind::Aaaa => {
                            addresses.extend(data::<Aaaa>(&record)?.map(|it| IpAddr::V6(it.addr())))
                        }
                        Kind::Srv => services.extend(service(&record)?),
                    }
                }
            }
            match alias {
                _ if !addresses.is_empty() => return Ok(Reply::Addresses(addresses, ttl_s)),
                _ if !services.is_empty() => return Ok(Reply::Services(services, ttl_s)),
                Some((next, ttl)) => {
                    ttl_s = ttl_s.min(ttl);
                    name = next;
                }
                None if aliases == 0 || negative_ttl(message)?.is_some() => {
                    let ttl_s = negative_ttl(message)?.map(|ttl| ttl.min(ttl_s));
                    return Ok(Reply::Nothing { exists: true, ttl_s });
                }
                None => return Ok(Reply::Alias(name.to_string().into(), ttl_s)),
            }
        }
        Ok(Reply::Failed)
    }
}

/// A record's data, if it is of that type.
fn data<'m, D: domain::base::rdata::ParseRecordData<'m, [u8]>>(
    record: &ParsedRecord<'m, [u8]>,
) -> Result<Option<D>, ParseError> {
    Ok(record.to_record::<D>()?.map(|record| record.into_data()))
}

fn target(record: &ParsedRecord<'_, [u8]>) -> Result<Name<Vec<u8>>, ParseError> {
    let name = data::<Cname<_>>(record)?.ok_or(ParseError::ShortInput)?;
    Ok(name.cname().to_vec())
}

/// The server of an SRV record; `.` says that there is decidedly none.
fn service(record: &ParsedRecord<'_, [u8]>) -> Result<Option<Service>, ParseError> {
    let Some(srv) = data::<Srv<_>>(record)? else {
        return Ok(None);
    };
    let target = srv.target();
    Ok((!target.is_root()).then(|| Service {
        priority: srv.priority(),
        weight: srv.weight(),
        port: srv.port(),
        target: target.to_string().into(),
    }))
}

/// RFC 2308 §5: the lesser of the SOA record's own time and its `minimum` field.
fn negative_ttl(message: &Message<[u8]>) -> Result<Option<u32>, ParseError> {
    for record in message.authority()? {
        let record = record?;
        if let Some(soa) = data::<Soa<_>>(&record)? {
            return Ok(Some(seconds(record.ttl()).min(seconds(soa.minimum()))));
        }
    }
    Ok(None)
}

/// RFC 2181 §8: a time with its highest bit set is zero.
fn seconds(ttl: Ttl) -> u32 {
    let seconds = ttl.as_secs();
    if seconds > i32::MAX as u32 { 0 } else { seconds }
}
