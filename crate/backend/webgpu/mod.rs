//! Runs plans in WebGPU compute shaders, natively and in the browser.
