//! What Tollgate lets through although both others refuse it.

/// Cases by name, and why each is right.
pub(crate) const ALONE: &[(&str, &str)] = &[(
    "head of 57 KiB",
    "heads may have 64 KiB here, and less in what the others set out with: a bound, not another reading",
)];
