//! The file's own tokenizer.
