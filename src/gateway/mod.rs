//! Protocol faces: wire request, broker, wire response. One file per API.

pub mod kafka;
