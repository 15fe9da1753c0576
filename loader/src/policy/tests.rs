use super::*;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
};

fn parsed(text: &str) -> Policy {
    Policy::parse(Path::new("policy.toml"), text).expect("a policy")
}

fn refused(text: &str) -> String {
    Policy::parse(Path::new("policy.toml"), text).expect_err("no policy").to_string()
}

#[test]
fn what_is_absent_bounds_nothing() {
    for policy in [Policy::default(), parsed("")] {
        assert!(policy.permits_uid(0) && policy.permits_cgroup("/x") && policy.permits_executable(None));
        assert!(policy.permits_port(1) && policy.permits_family("socket") && policy.examine);
        assert!(policy.permits_by_port() && policy.rules().is_empty());
        assert_eq!(policy.in_kernel(), ratatosk_bpf::Policy::default());
    }
}

#[test]
fn an_empty_list_permits_nobody() {
    let policy = parsed("uids = []\nexecutables = []\nports = []\ncgroups = []");
    assert!(!policy.permits_uid(0) && !policy.permits_executable(Some("/bin/x")));
    assert!(!policy.permits_port(80) && !policy.permits_cgroup("/"));
    assert_eq!(policy.in_kernel(), ratatosk_bpf::Policy { uids: Some(vec![]), cgroups: Some(vec![]) });
}

#[test]
fn numbers_and_ranges_are_spread_for_the_kernel() {
    let policy = parsed("uids = [33, \"1000-1002\"]\nports = [\"80\", \"8000 - 8999\"]");
    assert_eq!(policy.in_kernel().uids, Some(vec![33, 1000, 1001, 1002]));
    assert!(policy.permits_port(8500) && !policy.permits_port(81));
    assert_eq!(policy.rules(), [r#"uids = [33, "1000-1002"]"#, r#"ports = [80, "8000-8999"]"#]);
    assert!(!policy.permits_by_port());
}

#[test]
fn a_star_stays_in_its_directory_and_two_cross() {
    let policy = parsed(r#"executables = ["/usr/sbin/nginx", "/opt/*/bin/*", "/srv/**/run"]"#);
    for path in ["/usr/sbin/nginx", "/usr/sbin/nginx (deleted)", "/opt/a/bin/.b", "/srv/a/b/run", "/srv/run"]
    {
        assert!(policy.permits_executable(Some(path)), "{path}");
    }
    for path in ["/usr/sbin/nginx2", "/opt/a/b/bin/c", "/srv/a/runner", "/tmp/usr/sbin/nginx"] {
        assert!(!policy.permits_executable(Some(path)), "{path}");
    }
    assert!(!policy.permits_executable(None), "what can't be read is not permitted");
}

#[test]
fn a_cgroup_permits_what_is_below_it_and_not_what_is_beside_it() {
    let policy = parsed(r#"cgroups = ["/system.slice/shop.service", "/none-such"]"#);
    for path in ["/system.slice/shop.service", "/system.slice/shop.service/worker"] {
        assert!(policy.permits_cgroup(path), "{path}");
    }
    for path in ["/system.slice/shop.service2", "/system.slice", "/", ""] {
        assert!(!policy.permits_cgroup(path), "{path}");
    }
    let ids = policy.in_kernel().cgroups.expect("bounded");
    assert!(ids.is_empty(), "neither exists here");
    assert!(command::text(&policy).contains("/none-such does not exist now"));
    assert!(parsed("cgroups = [\"/\"]").permits_cgroup("/any"));
}

#[test]
fn what_means_nothing_is_refused_in_one_line_that_names_it() {
    for (text, says) in [
        ("uid = [1]", "line 1: unknown field `uid`"),
        ("\nuids = [\"x\"]", "uids: \"x\" is no number"),
        ("\n\nuids = {", "line 3"),
        ("uids = [-1]", "a number, or a range"),
        ("uids = [\"5-3\"]", "\"5-3\""),
        ("uids = [\"0-4294967295\"]", "4294967296 of them, at most 1024"),
        ("ports = [65536]", "65536"),
        ("ports = [0]", "port 0"),
        ("executables = [\"nginx\"]", "begins with no /"),
        ("executables = [\"/a[\"]", "invalid range pattern"),
        ("cgroups = [\"/a/../b\"]", "/a/../b"),
        ("families = [\"sockets\"]", "give some of socket, inet"),
        ("families = []", "none is left"),
        ("turn_bytes = 8", "8 is not in 32 to 16384"),
        ("call_bytes = 20000", "20000 is not in"),
        ("examine = 1", "line 1"),
    ] {
        let line = refused(text);
        assert!(line.starts_with("policy policy.toml: ") && line.contains(says), "{text:?} gave {line:?}");
        assert!(!line.contains('\n'), "{line:?}");
    }
}

#[test]
fn long_lists_are_cut_where_they_are_shown() {
    let policy = parsed(&format!("uids = {:?}", (0..20).collect::<Vec<u32>>()));
    assert_eq!(policy.rule(Rule::Uids), Some("uids = [0, 1, 2, 3, 4, 5, 6, 7, and 12 more]".to_owned()));
}

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: {name}: only root can own the file");
            return None;
        }
        let path = std::env::temp_dir().join(format!("ratatosk-policy-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("directory");
        Some(Self(path))
    }

    fn file(&self, mode: u32) -> PathBuf {
        let path = self.0.join("policy.toml");
        fs::write(&path, "uids = [1]").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("mode");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn only_a_file_that_only_root_can_write_counts() {
    let Some(place) = Place::new("only_a_file_that_only_root_can_write_counts") else { return };
    let says = |path: &Path| Policy::load(Some(path)).expect_err("refused").to_string();
    for mode in [0o644, 0o600, 0o400] {
        assert!(Policy::load(Some(&place.file(mode))).is_ok(), "{mode:o}");
    }
    for mode in [0o664, 0o646, 0o666] {
        assert!(says(&place.file(mode)).contains("chmod go-w"), "{mode:o}");
    }
    let path = place.file(0o644);
    let link = place.0.join("link");
    symlink(&path, &link).expect("link");
    assert!(says(&link).contains("symbolic link"));
    assert!(says(&place.0).contains("no regular file"));
    assert!(says(&place.0.join("none")).contains("does not exist"));
    chown(&path, Some(65_534), None).expect("chown");
    assert!(says(&path).contains("belongs to uid 65534"));
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let Some(place) = Place::new("a_directory_that_others_can_write_is_refused") else { return };
    let path = place.file(0o644);
    let set = |mode| fs::set_permissions(&place.0, Permissions::from_mode(mode)).expect("mode");
    set(0o777);
    assert!(Policy::load(Some(&path)).expect_err("refused").to_string().contains("mode 777"));
    set(0o1777);
    assert!(Policy::load(Some(&path)).is_ok(), "nobody replaces the file of another in a sticky directory");
}

#[test]
fn a_pipe_in_its_place_does_not_hold_the_start() {
    let Some(place) = Place::new("a_pipe_in_its_place_does_not_hold_the_start") else { return };
    let path = place.0.join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("pipe");
    assert!(Policy::load(Some(&path)).expect_err("refused").to_string().contains("no regular file"));
}
