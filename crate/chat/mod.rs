//! From messages to the text and tokens that a model was trained on.

mod builtin;
mod clock;
mod json;
mod marks;
mod normalize;
mod parse;
mod stop;
mod template;

pub use builtin::builtin;
pub use clock::{Clock, WallTime, system_clock};
pub use normalize::normalize;
pub use parse::{AnswerParser, Part};
pub use stop::StopMatcher;
pub use template::{Capabilities, ChatTemplate, Thinking, opens_thinking};
