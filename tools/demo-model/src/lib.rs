//! Makes the demo model from nothing: data, tokenizer, training, GGUF, evaluation. README.md has the recipe.

pub mod train;
