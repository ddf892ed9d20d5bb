
pub mod data;
pub mod encode;
pub mod train;
pub mod vocabulary;
