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
    /// Client connections of the process, over all workers
    ConnectionsMost connections_most: usize = limits::CONNECTIONS_MOST, 1..=100_000_000 Count;
    /// Client connections from one address, or one /64 of IPv6; 0 for as many as there are
    ConnectionsPerAddress connections_per_address: u32 = limits::CONNECTIONS_PER_ADDRESS, 0..=100_000_000 Count;
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
    /// How much of its body a client sends in each second that it is waited for; 0 asks for nothing
    ClientBodyBytesPerS client_body_bytes_per_s: u64 = limits::CLIENT_BODY_BYTES_PER_S, 0..=1_073_741_824 Bytes;
    /// How long it is waited for in all before that is asked
    ClientBodyGraceS client_body_grace_s: Duration = limits::CLIENT_BODY_GRACE_S, 1..=3600 Seconds;
    /// How long a client may take nothing of what it is sent
    ClientWriteS client_write_s: Duration = limits::CLIENT_WRITE_S, 1..=86_400 Seconds;
    /// A TLS handshake of a client
    TlsHandshakeS tls_handshake_s: Duration = limits::TLS_HANDSHAKE_S, 1..=300 Seconds;
    /// A PROXY header
    ProxyHeaderS proxy_header_s: Duration = limits::PROXY_HEADER_S, 1..=300 Seconds;
    /// A PROXY header of version 2 behind its fixed part
    ProxyHeaderBytes proxy_header_bytes: usize = limits::PROXY_HEADER_BYTES, 216..=65_535 Bytes;
    /// A TLS client's first message on a stream listener
    ClientHelloBytes client_hello_bytes: usize = limits::CLIENT_HELLO_BYTES, 1024..=131_072 Bytes;
    /// Extensions of one chunk
    ChunkExtensionBytes chunk_extension_bytes: usize = limits::CHUNK_EXTENSION_BYTES, 0..=65_536 Bytes;
    /// Framing of a chunked body beside what its data earns
    ChunkOverheadBytes chunk_overhead_bytes: u64 = limits::CHUNK_OVERHEAD_BYTES, 1024..=16_777_216 Bytes;
    /// Trailer lines of one chunked body
    Trailers trailers: usize = limits::TRAILERS, 0..=1000 Count;
    /// All trailer lines of one chunked body
    TrailerBytes trailer_bytes: usize = limits::TRAILER_BYTES, 256..=1_048_576 Bytes;
    /// A body that is read whole
    BodyBytes body_bytes: usize = limits::BODY_BYTES, 1024..=1_073_741_824 Bytes;
    /// A refused body that is read to its end, so that its connection can be kept
    DrainBytes drain_bytes: u64 = limits::DRAIN_BYTES, 0..=1_073_741_824 Bytes;
    /// What is read behind a request that is still answered
    PipelinedBytes pipelined_bytes: usize = limits::PIPELINED_BYTES, 1024..=1_048_576 Bytes;
    /// How long a client that was refused may go on sending
    LingerS linger_s: Duration = limits::LINGER_S, 1..=300 Seconds;
    /// What it may send in that time
    LingerBytes linger_bytes: usize = limits::LINGER_BYTES, 0..=1_073_741_824 Bytes;
    /// Streams of one HTTP/2 connection that are at work at once
    H2Streams h2_streams: u32 = limits::H2_STREAMS, 1..=1000 Count;
    /// HTTP/2 streams that a peer resets, or makes us reset, at once
    H2Resets h2_resets: u32 = limits::H2_RESETS, 1..=1_000_000 Count;
    /// How many more each second
    H2ResetsPerS h2_resets_per_s: u32 = limits::H2_RESETS_PER_S, 1..=1_000_000 Count;
    /// HTTP/2 frames that ask for something and carry nothing, at once
    H2Chatter h2_chatter: u32 = limits::H2_CHATTER, 100..=1_000_000 Count;
    /// How many more each second
    H2ChatterPerS h2_chatter_per_s: u32 = limits::H2_CHATTER_PER_S, 1..=1_000_000 Count;
    /// Frames that continue one compressed head of HTTP/2
    H2Continuations h2_continuations: usize = limits::H2_CONTINUATIONS, 1..=1000 Count;
    /// What a peer may send on an HTTP/2 stream before it was passed on
    H2StreamWindowBytes h2_stream_window_bytes: u32 = limits::H2_STREAM_WINDOW_BYTES, 16_384..=16_777_216 Bytes;
    /// The same on all streams of a client's connection
    H2WindowBytes h2_window_bytes: u32 = limits::H2_WINDOW_BYTES, 65_536..=1_073_741_824 Bytes;
    /// What waits to be sent to an HTTP/2 peer that asks and does not read
    H2OutMostBytes h2_out_most_bytes: usize = limits::H2_OUT_MOST_BYTES, 262_144..=67_108_864 Bytes;
    /// Interim responses to one request
    InterimResponses interim_responses: usize = limits::INTERIM_RESPONSES, 0..=1000 Count;
    /// Connections to upstreams that a worker keeps while nobody uses them
    UpstreamIdle upstream_idle: usize = limits::UPSTREAM_IDLE, 1..=1_000_000 Count;
    /// How long it keeps one
    UpstreamIdleS upstream_idle_s: Duration = limits::UPSTREAM_IDLE_S, 1..=86_400 Seconds;
    /// Requests that a connection to an upstream carries
    UpstreamRequests upstream_requests: u32 = limits::UPSTREAM_REQUESTS, 1..=1_000_000_000 Count;
    /// How long a request waits for the address of a name that nobody knows yet
    ResolveWaitS resolve_wait_s: Duration = limits::RESOLVE_WAIT_S, 1..=60 Seconds;
    /// All questions of one look-up
    DnsLookupS dns_lookup_s: Duration = limits::DNS_LOOKUP_S, 1..=300 Seconds;
    /// Records of one answer that are used
    DnsRecords dns_records: usize = limits::DNS_RECORDS, 1..=4096 Count;
    /// Names that are looked up at once
    ResolverThreads resolver_threads: usize = limits::RESOLVER_THREADS, 1..=256 Count;
    /// One server-sent event of a stream that is metered
    SseEventBytes sse_event_bytes: usize = limits::SSE_EVENT_BYTES, 1024..=67_108_864 Bytes;
    /// Log lines of one worker that wait to be written
    LogLines log_lines: usize = limits::LOG_LINES, 16..=1_048_576 Count;
    /// Clients of the admin socket, and of the metrics listener, at once
    AdminClients admin_clients: usize = limits::ADMIN_CLIENTS, 1..=1024 Count;
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

/// How often one was reached.
#[cfg(test)]
pub(crate) fn count(limit: Limit) -> u64 {
    REACHED[limit as usize].load(Ordering::Relaxed)
}

/// The table for people: each limit with its default, its bounds and what it is about.
pub fn page() -> String {
    let line = |row: &Row| {
        let amount = |value| row.unit.amount(value);
        format!(
            "{:22} {:>8}  {} to {}\n                       {}\n",
            row.name,
            amount(row.default),
            amount(row.least),
            amount(row.most),
            row.about.trim()
        )
    };
    TABLE.iter().map(line).collect()
}
