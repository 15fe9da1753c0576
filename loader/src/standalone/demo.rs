//! What a newcomer watches who selected nothing.

use super::{Failure, environment, files, say, users::Account};
use nix::unistd::{Gid, Uid};
use std::path::PathBuf;

/// Starts the others itself.
const FRONTEND: &str = "demo-frontend";
/// Asked by the front end.
const BACKEND: &str = "demo-backend";
/// Asks the front end; not watched, else each request would be told twice.
const VISITOR: &str = "demo-visitor";
/// `nobody` everywhere (the kernel's overflow uid): the demo must not share a uid with either side.
const NOBODY: u32 = 65_534;

/// The bundled demo, ready to start.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The program to start.
    pub frontend: PathBuf,
    /// Value of `OTEL_EBPF_AUTO_TARGET_EXE` that selects the demo's servers only.
    pub glob: String,
}

impl Demo {
    /// Places the demo, or gives none if something was selected.
    pub fn prepare(bin: &mut files::Bin) -> Result<Option<Self>, Failure> {
        if environment::has_selector() {
            return Ok(None);
        }
        let mut place = |name| bin.reachable(&files::beside_own(name)?);
        let placed = place(BACKEND).and_then(|_| place(VISITOR)).and_then(|_| place(FRONTEND));
        let frontend = placed.map_err(|failure| {
            Failure::usage(format!(
                "nothing is selected and the demo can't be started ({failure}): select a service, as in BEYLA_OPEN_PORT=8080"
            ))
        })?;
        say("nothing is selected: starting a small demo and watching only that");
        say("to watch a service of yours, say which: BEYLA_OPEN_PORT=8080 make run");
        let glob = frontend.with_file_name("demo-*end").display().to_string();
        Ok(Some(Self { frontend, glob }))
    }
}

/// The demo's user.
pub const fn account() -> Account {
    Account { uid: Uid::from_raw(NOBODY), gid: Gid::from_raw(NOBODY) }
}
