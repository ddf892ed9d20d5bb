//! Makes the demo model from nothing: data, tokenizer, training, GGUF, evaluation. README.md has the recipe.

pub mod data;
pub mod encode;
pub mod evaluate;
pub mod export;
pub mod recipe;
pub mod train;
pub mod vocabulary;
