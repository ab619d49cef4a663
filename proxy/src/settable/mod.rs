//! The limits that an operator may set: one table, of which the flag `--limit`, the `[limits]` of a node file, `tollgate
//! limits`, the metric `tollgate_limit_reached_total` and all reads are made.
//!
//! What a peer runs into, and what a peer has to wait for, stands here; its default is the constant of [`limits`]. What only
//! sizes the gateway's own memory, or paces its own work, stays a constant. Values are set once, before the first worker
//! starts; reading one is a load from memory that nobody writes any more.

mod setting;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::limits;
pub use setting::{Setting, SettingError, from_table};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// One limit of the table.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub limit: Limit,
    /// What operators call it.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Its value where nothing is said.
    pub default: u64,
    /// The lowest that may be set.
    pub least: u64,
    /// The highest that may be set.
    pub most: u64,
    /// What it bounds, in a sentence without its end.
    pub about: &'static str,
}

/// What a value is read as.
trait Read {
    fn read(value: u64) -> Self;
}

impl Read for usize {
    fn read(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Read for u64 {
    fn read(value: u64) -> Self {
        value
    }
}

impl Read for u32 {
    fn read(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Read for Duration {
    fn read(value: u64) -> Self {
        Self::from_secs(value)
    }
}

macro_rules! table {
    ($($(#[doc = $about:literal])+ $limit:ident $name:ident: $kind:ty = $default:path, $least:literal..=$most:literal $unit:ident;)+) => {
        /// A limit that may be set.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit { $($(#[doc = $about])+ $limit,)+ }

        /// All of them, in the order of [`Limit`].
        pub const TABLE: &[Row] = &[$(Row {
            limit: Limit::$limit,
            name: stringify!($name),
            unit: Unit::$unit,
            default: $default as u64,
            least: $least,
            most: $most,
            about: concat!($($about),+),
        }),+];

        static VALUES: [AtomicU64; TABLE.len()] = [$(AtomicU64::new($default as u64)),+];
        static REACHED: [AtomicU64; TABLE.len()] = [const { AtomicU64::new(0) }; TABLE.len()];

        $(
            $(#[doc = $about])+
            #[inline]
            pub fn $name() -> $kind {
                Read::read(VALUES[Limit::$limit as usize].load(Ordering::Relaxed))
            }
        )+
    };
}

table! {
    /// Header lines of one message
    Headers headers: usize = limits::HEADERS, 8..=100 Count;
    /// One message head, from its start line to the empty line
    HeadBytes head_bytes: usize = limits::HEAD_BYTES, 1024..=1_048_576 Bytes;
    /// One header line
    HeaderBytes header_bytes: usize = limits::HEADER_BYTES, 256..=1_048_576 Bytes;
    /// One request target
    UriBytes uri_bytes: usize = limits::URI_BYTES, 64..=1_048_576 Bytes;
    /// From the first byte of a request head to its last
    RequestHeadS request_head_s: Duration = limits::REQUEST_HEAD_S, 1..=3600 Seconds;
    /// Silence of a client's connection between two requests
    ClientIdleS client_idle_s: Duration = limits::CLIENT_IDLE_S, 1..=86_400 Seconds;
    /// Requests that a client's connection carries, one after the other or as streams
    ClientRequests client_requests: u64 = limits::CLIENT_REQUESTS, 1..=1_000_000_000 Count;
    /// How old a client's connection is when it gets its last request
    ClientAgeS client_age_s: Duration = limits::CLIENT_AGE_S, 1..=31_536_000 Seconds;
    /// Between two pieces of a client's body
    ClientBodyS client_body_s: Duration = limits::CLIENT_BODY_S, 1..=86_400 Seconds;
    /// How long a client may take nothing of what it is sent
    ClientWriteS client_write_s: Duration = limits::CLIENT_WRITE_S, 1..=86_400 Seconds;
    /// A TLS handshake of a client
    TlsHandshakeS tls_handshake_s: Duration = limits::TLS_HANDSHAKE_S, 1..=300 Seconds;
    /// A PROXY header
    ProxyHeaderS proxy_header_s: Duration = limits::PROXY_HEADER_S, 1..=300 Seconds;
    /// A body that is read whole
    BodyBytes body_bytes: usize = limits::BODY_BYTES, 1024..=1_073_741_824 Bytes;
    /// How long a client that was refused may go on sending
    LingerS linger_s: Duration = limits::LINGER_S, 1..=300 Seconds;
    /// What it may send in that time
    LingerBytes linger_bytes: usize = limits::LINGER_BYTES, 0..=1_073_741_824 Bytes;
    /// Streams of one HTTP/2 connection that are at work at once
    H2Streams h2_streams: u32 = limits::H2_STREAMS, 1..=1000 Count;
    /// HTTP/2 streams that a peer resets, or makes us reset, at once
    H2Resets h2_resets: u32 = limits::H2_RESETS, 1..=1_000_000 Count;
    /// HTTP/2 frames that ask for something and carry nothing, at once
    H2Chatter h2_chatter: u32 = limits::H2_CHATTER, 100..=1_000_000 Count;
}

/// Uses these values from now on; of two for one limit the later.
pub fn apply(settings: &[Setting]) {
    for setting in settings {
        VALUES[setting.limit as usize].store(setting.value, Ordering::Relaxed);
    }
}

/// Counts that a limit was reached. Who runs into one has cost more than a locked instruction already.
pub fn reached(limit: Limit) {
    REACHED[limit as usize].fetch_add(1, Ordering::Relaxed);
}

/// How often each limit was reached.
pub fn counts() -> impl Iterator<Item = (&'static str, u64)> {
    let counts = REACHED.iter().map(|count| count.load(Ordering::Relaxed));
    TABLE.iter().map(|row| row.name).zip(counts)
}

/// The table for people: each limit with its default, its bounds and what it is about.
pub fn page() -> String {
    let line = |row: &Row| {
        let amount = |value| row.unit.amount(value);
        format!(
            "{:16} {:>8}  {} to {}\n                 {}\n",
            row.name,
            amount(row.default),
            amount(row.least),
            amount(row.most),
            row.about.trim()
        )
    };
    TABLE.iter().map(line).collect()
}
