//! `ratatosk config` as a person calls it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config").join(name)
}

fn config(what: &str, file: &Path) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ratatosk"));
    let Output { status, stdout, stderr } =
        command.args(["config", what]).arg(file).env_clear().output().expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn check_says_what_has_no_effect_and_ends_with_0() {
    let (code, stdout, stderr) = config("check", &example("everything.yml"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("warning: ") && stdout.contains("everything.yml:19: ebpf.wakeup_len is"),
        "{stdout}"
    );
    assert!(stdout.ends_with("everything.yml: valid\n"), "{stdout}");
}

#[test]
fn a_file_that_is_wrong_is_one_line_and_64() {
    let path = std::env::temp_dir().join(format!("ratatosk-cli-{}.yml", std::process::id()));
    std::fs::write(&path, "trace_printer: text\nopen_prot: 80\n").expect("written");
    for what in ["check", "show"] {
        let (code, stdout, stderr) = config(what, &path);
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(64), "", 1), "{stderr}");
        assert!(stderr.contains(":2: \"open_prot\" is no key; did you mean open_port?"), "{stderr}");
    }
    std::fs::remove_file(&path).expect("removed");
    let (code, _, stderr) = config("check", &path);
    assert_eq!(code, Some(64));
    assert!(stderr.contains("can't be read"), "{stderr}");
}

#[test]
fn show_tells_value_and_origin() {
    let (code, stdout, _) = config("show", &example("ports.yml"));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("open_port = [\"8080\"]  # ") && stdout.contains("ports.yml:2\n"), "{stdout}");
    assert!(stdout.contains("prometheus_export.path = /metrics  # "), "{stdout}");
}
