//! Every operation and format on a real (or software) device, against the plain references.

mod fused;
mod model;
mod sampling;
pub(crate) mod support;
mod tiled;
mod weights;
