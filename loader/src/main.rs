//! Loader.
fn main() {}
