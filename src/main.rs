//! The `mainstem` program.

fn main() {}
