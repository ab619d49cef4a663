//! Criterion benchmarks, one file per room.
