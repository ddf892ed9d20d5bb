//! From a file's metadata and tensor index to a plan.
