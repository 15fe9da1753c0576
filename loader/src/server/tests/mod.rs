//! A whole server over a fake kernel, and a real client over a real socket.

mod fake;
mod hub;
mod policy;
mod stream;
