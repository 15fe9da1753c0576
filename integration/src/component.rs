//! What `scripts/setup-components` installed: servers, clients and backends from package registries.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where a component is, or why there is none: a line for `skipped:`.
pub fn find(name: &str) -> Result<PathBuf, String> {
    let links = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components");
    let link = links.join(name);
    if let Ok(place) = fs::canonicalize(&link) {
        return Ok(place);
    }
    match fs::read_to_string(links.join(format!("{name}.failed"))) {
        Ok(reason) => Err(format!("component {name}: {}", reason.trim())),
        Err(_) => Err(format!("component {name} is not installed: scripts/setup --test")),
    }
}
