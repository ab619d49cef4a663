//! Black-box tests: they drive the built `tollgate` and `tollc` from outside.
