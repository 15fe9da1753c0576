//! Where the socket is.

use crate::config::DEFAULT_SOCKET;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The variable that names the socket.
pub const SOCKET_VARIABLE: &str = "RATATOSK_EXPLAIN_SOCKET";

const FILE: &str = "explain.sock";

/// The socket of a processor that talks to the loader at `loader`: in a directory of the processor's beside that of the
/// loader, `/run/ratatosk-processor/explain.sock` by default. In the loader's the processor may make nothing.
#[must_use]
pub fn socket_beside(loader: &Path) -> PathBuf {
    let directory = loader.parent().unwrap_or(Path::new("/run/ratatosk"));
    let mut own: OsString = directory.as_os_str().to_owned();
    own.push("-processor");
    PathBuf::from(own).join(FILE)
}

/// What the environment says: the variable, else beside the loader's.
#[must_use]
pub fn socket_path(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given(SOCKET_VARIABLE)
        .unwrap_or_else(|| socket_beside(&given("RATATOSK_SOCKET").unwrap_or_else(|| DEFAULT_SOCKET.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_beside_the_loaders_directory_unless_it_is_named() {
        let environment = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        for (pairs, path) in [
            (&[][..], "/run/ratatosk-processor/explain.sock"),
            (&[("RATATOSK_SOCKET", "/a/b/agent.sock")], "/a/b-processor/explain.sock"),
            (&[("RATATOSK_EXPLAIN_SOCKET", "/x"), ("RATATOSK_SOCKET", "/a/b/agent.sock")], "/x"),
            (&[("RATATOSK_EXPLAIN_SOCKET", "")], "/run/ratatosk-processor/explain.sock"),
        ] {
            assert_eq!(socket_path(environment(pairs)), PathBuf::from(path), "{pairs:?}");
        }
    }
}
