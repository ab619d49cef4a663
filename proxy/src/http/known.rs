//! The header names that the gateway itself reads or writes, each with a one-byte id.
//!
//! A name is looked up once, when its head is decoded; afterwards rooms compare ids, not text.
//! Enters: a field name in any case. Leaves: its id, or [`KnownHeader::Other`].

/// Slots of the look-up table; a power of two, at least twice the number of names.
const SLOTS: usize = 256;

macro_rules! known_headers {
    ($($variant:ident = $name:literal,)+) => {
        /// A header the gateway has an opinion about. Ids are not stable across versions: never store them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each variant is the header of that name")]
        pub enum KnownHeader {
            /// Any name not in this list.
            Other = 0,
            $($variant,)+
        }

        const NAMES: &[&str] = &["", $($name,)+];
        const LINE_STARTS: &[&str] = &["", $(concat!($name, ": "),)+];
        const IDS: &[KnownHeader] = &[KnownHeader::Other, $(KnownHeader::$variant,)+];
    };
}

known_headers! {
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    Apikey = "apikey",
    Authorization = "Authorization",
    CacheControl = "Cache-Control",
    Connection = "Connection",
    ContentDisposition = "Content-Disposition",
    ContentEncoding = "Content-Encoding",
    ContentLength = "Content-Length",
    ContentRange = "Content-Range",
    ContentType = "Content-Type",
    Cookie = "Cookie",
    Date = "Date",
    Etag = "ETag",
    Expect = "Expect",
    Forwarded = "Forwarded",
    GrpcMessage = "grpc-message",
    GrpcStatus = "grpc-status",
    Host = "Host",
    KeepAlive = "Keep-Alive",
    KongDebug = "Kong-Debug",
    LastModified = "Last-Modified",
    Location = "Location",
    Origin = "Origin",
    Proxy = "Proxy",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyConnection = "Proxy-Connection",
    Range = "Range",
    RateLimitLimit = "RateLimit-Limit",
    RateLimitRemaining = "RateLimit-Remaining",
    RateLimitReset = "RateLimit-Reset",
    Referer = "Referer",
    RetryAfter = "Retry-After",
    SecWebsocketKey = "Sec-WebSocket-Key",
    SecWebsocketProtocol = "Sec-WebSocket-Protocol",
    SecWebsocketVersion = "Sec-WebSocket-Version",
    Server = "Server",
    SetCookie = "Set-Cookie",
    Te = "TE",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Trailer = "Trailer",
    TransferEncoding = "Transfer-Encoding",
    Upgrade = "Upgrade",
    UserAgent = "User-Agent",
    Vary = "Vary",
    Via = "Via",
    WwwAuthenticate = "WWW-Authenticate",
    XAnonymousConsumer = "X-Anonymous-Consumer",
    XApiKey = "X-Api-Key",
    XAuthenticatedGroups = "X-Authenticated-Groups",
    XConsumerCustomId = "X-Consumer-Custom-ID",
    XConsumerGroups = "X-Consumer-Groups",
    XConsumerId = "X-Consumer-ID",
    XConsumerUsername = "X-Consumer-Username",
    XCredentialIdentifier = "X-Credential-Identifier",
    XForwardedFor = "X-Forwarded-For",
    XForwardedHost = "X-Forwarded-Host",
    XForwardedPath = "X-Forwarded-Path",
    XForwardedPort = "X-Forwarded-Port",
    XForwardedPrefix = "X-Forwarded-Prefix",
    XForwardedProto = "X-Forwarded-Proto",
    XKongProxyLatency = "X-Kong-Proxy-Latency",
    XKongRequestId = "X-Kong-Request-Id",
    XKongResponseLatency = "X-Kong-Response-Latency",
    XKongUpstreamLatency = "X-Kong-Upstream-Latency",
    XKongUpstreamStatus = "X-Kong-Upstream-Status",
    XRateLimitLimitDay = "X-RateLimit-Limit-Day",
    XRateLimitLimitHour = "X-RateLimit-Limit-Hour",
    XRateLimitLimitMinute = "X-RateLimit-Limit-Minute",
    XRateLimitLimitMonth = "X-RateLimit-Limit-Month",
    XRateLimitLimitSecond = "X-RateLimit-Limit-Second",
    XRateLimitLimitYear = "X-RateLimit-Limit-Year",
    XRateLimitRemainingDay = "X-RateLimit-Remaining-Day",
    XRateLimitRemainingHour = "X-RateLimit-Remaining-Hour",
    XRateLimitRemainingMinute = "X-RateLimit-Remaining-Minute",
    XRateLimitRemainingMonth = "X-RateLimit-Remaining-Month",
    XRateLimitRemainingSecond = "X-RateLimit-Remaining-Second",
    XRateLimitRemainingYear = "X-RateLimit-Remaining-Year",
    XRealIp = "X-Real-IP",
}

const _: () = assert!(
    NAMES.len() * 2 <= SLOTS && NAMES.len() <= 128,
    "ids index a table and a 128-bit set"
);

static TABLE: [u8; SLOTS] = table();

impl KnownHeader {
    /// The id of `name`, compared without regard to ASCII case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        if name.is_empty() {
            return Self::Other;
        }
        let mut slot = slot(name);
        loop {
            let id = usize::from(TABLE[slot]);
            if id == 0 {
                return Self::Other;
            }
            if PATTERNS[id].is(name) {
                return IDS[id];
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The id of the header that a CGI-style backend would confuse with `name`: `X_Real_IP` is taken for `X-Real-IP`.
    /// [`KnownHeader::Other`] when `name` has no underscore.
    pub fn underscore_twin_of(name: &[u8]) -> Self {
        const LONGEST: usize = 32;
        if name.len() > LONGEST || !name.contains(&b'_') {
            return Self::Other;
        }
        let mut dashed = [0; LONGEST];
        for (to, from) in dashed.iter_mut().zip(name) {
            *to = if *from == b'_' { b'-' } else { *from };
        }
        Self::of(&dashed[..name.len()])
    }

    /// The usual spelling. Empty for [`KnownHeader::Other`].
    pub const fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The usual spelling with what separates it from a value. Empty for [`KnownHeader::Other`].
    pub const fn line_start(self) -> &'static str {
        LINE_STARTS[self as usize]
    }

    /// This header's bit in a set of 128. Zero for [`KnownHeader::Other`], which is never a member.
    pub const fn bit(self) -> u128 {
        match self {
            Self::Other => 0,
            known => 1 << (known as u8),
        }
    }

    /// Speaks to the next hop only and is never forwarded as it came (RFC 9110 §7.6.1; `Proxy` as in httpoxy).
    /// `Proxy-Authorization` is here: its credentials were meant for us.
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::Proxy
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// Decides where a message ends or where it goes. Naming one in `Connection` has no effect.
    pub const fn is_framing(self) -> bool {
        matches!(
            self,
            Self::Host
                | Self::ContentLength
                | Self::TransferEncoding
                | Self::ContentType
                | Self::ContentEncoding
        )
    }

    /// Tells the upstream who is calling. Only the gateway may say so: copies from the client, and their underscore
    /// twins, are removed (Kong's identity headers, kept even where no plugin sets them).
    pub const fn is_identity(self) -> bool {
        matches!(
            self,
            Self::XAnonymousConsumer
                | Self::XAuthenticatedGroups
                | Self::XConsumerCustomId
                | Self::XConsumerGroups
                | Self::XConsumerId
                | Self::XConsumerUsername
                | Self::XCredentialIdentifier
        )
    }

    /// Written by the gateway on every forwarded request; see `forwarding`.
    pub const fn is_forwarding(self) -> bool {
        matches!(
            self,
            Self::XForwardedFor
                | Self::XForwardedHost
                | Self::XForwardedPath
                | Self::XForwardedPort
                | Self::XForwardedPrefix
                | Self::XForwardedProto
                | Self::XKongRequestId
                | Self::XRealIp
        )
    }
}

/// A known name as words to compare with.
struct Pattern {
    len: usize,
    /// The name's words at 0, 8 and 16 as far as they are whole, and at the end its last eight bytes.
    words: [u64; 4],
    /// The bit that tells upper from lower case, for each letter in them.
    case: [u64; 4],
}

static PATTERNS: [Pattern; NAMES.len()] = {
    let mut patterns = [const { Pattern::of("") }; NAMES.len()];
    let mut id = 0;
    while id < NAMES.len() {
        patterns[id] = Pattern::of(NAMES[id]);
        id += 1;
    }
    patterns
};

impl Pattern {
    const fn of(name: &str) -> Self {
        let name = name.as_bytes();
        assert!(name.len() <= 32, "four words hold a name");
        let [mut words, mut case] = [[0; 4]; 2];
        let last = name.len().saturating_sub(8);
        let mut number = 0;
        while number < 4 {
            let at = if number == 3 { last } else { number * 8 };
            if number == 3 || at < last {
                words[number] = word(name, at);
                case[number] = case_of(words[number]);
            }
            number += 1;
        }
        let len = name.len();
        Self { len, words, case }
    }

    /// Whether `name` is this one, without regard to case.
    #[inline]
    fn is(&self, name: &[u8]) -> bool {
        if self.len != name.len() {
            return false;
        }
        let last = self.len.saturating_sub(8);
        let differs = |number: usize, at: usize| (word(name, at) ^ self.words[number]) & !self.case[number];
        let mut differences = differs(3, last);
        let mut number = 0;
        while number < 3 && number * 8 < last {
            differences |= differs(number, number * 8);
            number += 1;
        }
        differences == 0
    }
}

/// Eight bytes of a name, or all of a shorter one, each at its place.
#[inline]
const fn word(name: &[u8], at: usize) -> u64 {
    if let Some((bytes, _)) = name.split_at(at).1.split_first_chunk() {
        return u64::from_le_bytes(*bytes);
    }
    let mut word = 0;
    let mut place = at;
    while place < name.len() {
        word |= (name[place] as u64) << ((place - at) * 8);
        place += 1;
    }
    word
}

/// The case bit of every letter in a word.
const fn case_of(word: u64) -> u64 {
    let mut bytes = word.to_le_bytes();
    let mut place = 0;
    while place < bytes.len() {
        bytes[place] = if bytes[place].is_ascii_alphabetic() {
            0x20
        } else {
            0
        };
        place += 1;
    }
    u64::from_le_bytes(bytes)
}

/// Open addressing over a hash of length and three letters: cheap, and few names share all four.
const fn table() -> [u8; SLOTS] {
    let mut table = [0; SLOTS];
    let mut id = 1;
    while id < NAMES.len() {
        let mut at = slot(NAMES[id].as_bytes());
        while table[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "asserted above: at most 128 names"
        )]
        {
            table[at] = id as u8;
        }
        id += 1;
    }
    table
}

const fn slot(name: &[u8]) -> usize {
    // Letters of both cases fall together, and so may others: they are told apart by comparison.
    let first = (name[0] | 0x20) as usize;
    let middle = (name[name.len() / 2] | 0x20) as usize;
    let last = (name[name.len() - 1] | 0x20) as usize;
    (name.len() * 31 + first * 7 + middle * 17 + last * 3) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_own_id_in_any_case() {
        for (name, id) in NAMES.iter().zip(IDS).skip(1) {
            assert_eq!(KnownHeader::of(name.as_bytes()), *id);
            assert_eq!(KnownHeader::of(name.to_uppercase().as_bytes()), *id);
            assert_eq!(id.name(), *name);
        }
    }

    #[test]
    fn unknown_and_empty_names_are_other() {
        for name in ["", "X", "Hos", "Hosts", "X-Consumer-Idd"] {
            assert_eq!(KnownHeader::of(name.as_bytes()), KnownHeader::Other);
        }
    }

    #[test]
    fn only_letters_have_a_case() {
        for name in NAMES.iter().skip(1) {
            for at in 0..name.len() {
                let mut changed = name.as_bytes().to_vec();
                changed[at] ^= 0x20;
                let wanted = name.as_bytes().eq_ignore_ascii_case(&changed);
                let is = |text: &[u8]| Pattern::of(name).is(text);
                assert_eq!(is(&changed), wanted, "{}", changed.escape_ascii());
                changed[at] = b'!';
                assert!(!is(&changed));
            }
        }
    }

    #[test]
    fn underscores_are_seen_through() {
        assert_eq!(
            KnownHeader::underscore_twin_of(b"content_Length"),
            KnownHeader::ContentLength
        );
        assert_eq!(
            KnownHeader::underscore_twin_of(b"Content-Length"),
            KnownHeader::Other
        );
        assert_eq!(KnownHeader::underscore_twin_of(&[b'_'; 100]), KnownHeader::Other);
    }

    #[test]
    fn probing_stays_short() {
        let longest = TABLE.split(|slot| *slot == 0).map(<[u8]>::len).max().unwrap_or(0);
        assert!(longest <= 8, "a run of {longest} slots");
    }
}
