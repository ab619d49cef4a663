//! The contract between compiler and proxy.
