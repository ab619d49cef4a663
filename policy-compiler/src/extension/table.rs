//! The tags that Tollgate reads, one entry each.

use super::Tag;

/// Names each tag and gathers them in [`TAGS`].
macro_rules! tags {
    ($( $(#[$doc:meta])* $constant:ident = $tag:expr; )*) => {
        $( $(#[$doc])* pub const $constant: Tag = $tag; )*

        /// Every tag, in the order of `docs/extensions.md`.
        pub const TAGS: &[Tag] = &[ $( $constant, )* ];
    };
}

tags! {}
