//! The `listener` room.
