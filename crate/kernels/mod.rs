//! One folder an operation: parameters and shape check, plain reference, SIMD, WGSL.
