//! Runs plans on the CPU.
