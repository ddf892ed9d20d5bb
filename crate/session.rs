//! Sequences, prefix reuse, the decode loop.
