//! The declarative file as a typed model.
pub mod entity;
