//! tollc
fn main() {}
