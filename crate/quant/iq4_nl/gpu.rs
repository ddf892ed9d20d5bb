//! The bytes lie as in Q4_0; what a nibble means differs.

pub(in crate::quant) use crate::quant::q4_0::gpu::pack;
