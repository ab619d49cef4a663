//! The `edit` room.
