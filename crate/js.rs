//! What is exported to JavaScript; the only file that does.
