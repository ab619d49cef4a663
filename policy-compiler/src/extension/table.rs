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

tags! {
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
}
