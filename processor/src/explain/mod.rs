//! `ratatosk explain`: what is done with every process, and why, asked of the running processor.
//!
//! in   a [`Question`] over a unix socket of the processor's own, HTTP/1 with JSON: `GET /v1/explain?pid=&offset=&limit=`
//! out  a [`Report`], at most [`MAX_PAGE`] processes of it
//!
//! The socket is this user's alone (0600), and the peer's uid is checked as well. The loader is never asked.

/// Processes that the table shows unless told otherwise: a few screens.
pub const DEFAULT_LIMIT: usize = 50;

mod build;
mod client;
mod desk;
mod place;
mod report;
mod selectors;
mod sentences;
mod serve;
mod socket;
mod table;
#[cfg(test)]
mod tests;

pub use build::{Context, build};
pub use client::{Ask, ClientError, ask};
pub use desk::{Desk, Question, Questions, desk};
pub use place::{SOCKET_VARIABLE, socket_beside, socket_path};
pub use report::{Count, Loader, MAX_PAGE, Process, Report, Setting, Tier};
pub use selectors::Selectors;
pub use sentences::sentences;
pub use serve::listen;
pub use socket::{Door, DoorError, open};
pub use table::{Style, table};
