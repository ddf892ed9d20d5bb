//! Templates for files that carry none.

/// The template of a family, by `general.architecture`: Qwen2.5's format for `qwen2`, Qwen3's for all that followed.
pub fn builtin(architecture: &str) -> &'static str {
    if architecture.starts_with("qwen2") { QWEN2 } else { QWEN3 }
}

const QWEN2: &str = concat!(include_str!("builtin/parts.jinja"), include_str!("builtin/qwen2.jinja"));
const QWEN3: &str = concat!(include_str!("builtin/parts.jinja"), include_str!("builtin/qwen3.jinja"));
