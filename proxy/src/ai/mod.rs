//! The `ai` room.
