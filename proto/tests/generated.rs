//! The checked-in code is what `agent.proto` gives today.

use std::{env, fs, path::Path};

const FILE: &str = "ratatosk.agent.v1.rs";

fn generate(into: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let set = protox::compile(["ratatosk/agent/v1/agent.proto"], [root]).expect("agent.proto compiles");
    let builder = tonic_prost_build::configure()
        .bytes(".")
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .build_transport(false)
        .out_dir(into);
    builder.compile_fds(set).expect("code is generated");
}

#[test]
fn generated_code_is_fresh() {
    let dir = env::temp_dir().join(format!("ratatosk-proto-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("temporary directory");
    generate(&dir);
    let fresh = fs::read_to_string(dir.join(FILE)).expect("generated file");
    fs::remove_dir_all(&dir).expect("temporary directory goes");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen").join(FILE);
    if env::var_os("UPDATE").is_some() {
        fs::write(&kept, &fresh).expect("written");
    }
    let old = fs::read_to_string(&kept).expect("checked-in file");
    assert!(old == fresh, "src/gen/{FILE} is stale: UPDATE=1 cargo test -p ratatosk-proto");
}
