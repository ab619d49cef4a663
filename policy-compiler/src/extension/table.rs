//! The tags that Tollgate reads, one entry each.

use super::{Kind, Shape, Tag};

/// Names each tag and gathers them in [`TAGS`].
macro_rules! tags {
    ($( $(#[$doc:meta])* $constant:ident = $tag:expr; )*) => {
        $( $(#[$doc])* pub const $constant: Tag = $tag; )*

        /// Every tag, in the order of `docs/extensions.md`.
        pub const TAGS: &[Tag] = &[ $( $constant, )* ];
    };
}

/// [`QUEUE_TIMEOUT`] without the tag.
pub const QUEUE_TIMEOUT_MS: u32 = 5_000;

/// [`EJECT_FOR`] without the tag.
pub const EJECT_FOR_MS: u32 = 30_000;
/// [`EJECT_MOST`] without the tag.
pub const EJECT_MOST_PERCENT: u32 = 10;

tags! {
    /// How much a route matters when not everything can be served: a [`policy::table::Priority`].
    PRIORITY = Tag {
        name: "priority",
        on: &[Kind::Service, Kind::Route],
        shape: Shape::Choice(&["low", "normal", "high", "critical"]),
        default: "normal",
        needs: None,
        about: "who is turned away first when the gateway is overloaded; what a route says goes before its service's",
    };
    /// How slowly the weight of a target grows.
    SLOW_START = Tag {
        name: "slow_start",
        on: &[Kind::Upstream],
        shape: Shape::Duration { least: 1_000, most: 3_600_000 },
        default: "at once",
        needs: None,
        about: "the time in which the weight of a target that is new or healthy again grows from a tenth to all of it",
    };
    /// How many requests an address of a target serves at a time.
    MAX_REQUESTS = Tag {
        name: "max_requests",
        on: &[Kind::Upstream],
        shape: Shape::Count { least: 1, most: 1_000_000 },
        default: "any number",
        needs: None,
        about: "how many requests and sessions each address of a target serves at a time, over all workers",
    };
    /// How many requests wait for room.
    QUEUE = Tag {
        name: "queue",
        on: &[Kind::Upstream],
        shape: Shape::Count { least: 1, most: 10_000 },
        default: "none",
        needs: Some("max_requests"),
        about: "how many requests wait while every target serves as many as it may",
    };
    /// How long one waits.
    QUEUE_TIMEOUT = Tag {
        name: "queue_timeout",
        on: &[Kind::Upstream],
        shape: Shape::Duration { least: 100, most: 600_000 },
        default: "5s",
        needs: Some("queue"),
        about: "how long a request waits at most",
    };
    /// Failures in a row that eject an address.
    EJECT_AFTER = Tag {
        name: "eject_after",
        on: &[Kind::Upstream],
        shape: Shape::Count { least: 1, most: 1_000 },
        default: "nobody is ejected",
        needs: None,
        about: "after how many failures in a row, counted over all workers, an address of a target is left out for a while",
    };
    /// How long the first ejection is.
    EJECT_FOR = Tag {
        name: "eject_for",
        on: &[Kind::Upstream],
        shape: Shape::Duration { least: 1_000, most: 3_600_000 },
        default: "30s",
        needs: Some("eject_after"),
        about: "how long the first time; the second time twice as long, and so on",
    };
    /// How many may be out at once.
    EJECT_MOST = Tag {
        name: "eject_most",
        on: &[Kind::Upstream],
        shape: Shape::Percent { least: 1, most: 100 },
        default: "10%",
        needs: Some("eject_after"),
        about: "how many of the upstream's addresses may be left out at once; one always may",
    };
    /// What is spoken to a service: a [`policy::table::HttpVersion`].
    HTTP = Tag {
        name: "http",
        on: &[Kind::Service],
        shape: Shape::Choice(&["1.1", "2", "auto"]),
        default: "1.1",
        needs: None,
        about: "the version of HTTP that a service of protocol http or https is spoken to in",
    };
    /// Whether a service's servers are told for whom connections are opened.
    PROXY_PROTOCOL = Tag {
        name: "proxy_protocol",
        on: &[Kind::Service],
        shape: Shape::Choice(&["v1", "v2"]),
        default: "none",
        needs: None,
        about: "the version of the PROXY header that each connection to the service begins with",
    };
    /// How long a request waits for an answer before it goes to another target, too.
    HEDGE_AFTER = Tag {
        name: "hedge_after",
        on: &[Kind::Service],
        shape: Shape::Duration { least: 10, most: 60_000 },
        default: "never",
        needs: None,
        about: "how long a request that may be sent twice waits for an answer before another target gets it, too",
    };
}
