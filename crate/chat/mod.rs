//! From messages to the text and tokens that a model was trained on.

mod stop;

pub use stop::StopMatcher;
