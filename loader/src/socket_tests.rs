use super::*;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A directory of its own for each test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let name = format!("ratatosk-socket-{}-{}", std::process::id(), PLACES.fetch_add(1, Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    fn made() -> Self {
        let place = Self::new();
        fs::create_dir(&place.0).expect("a directory");
        place
    }

    fn path(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    fn refused(&self) -> SocketError {
        listen(&self.path(), None).expect_err("refused")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

#[test]
fn directory_and_socket_are_made_with_their_modes() {
    let place = Place::new();
    let socket = listen(&place.path(), None).expect("listening");
    assert_eq!((mode(&place.0), mode(&place.path())), (0o750, 0o660));
    UnixStream::connect(place.path()).expect("connected");
    socket.unlink();
    assert!(!place.path().exists());
    assert!(place.0.join("agent.sock.lock").exists());
}

#[test]
fn a_second_loader_is_unavailable() {
    let place = Place::new();
    let _first = listen(&place.path(), None).expect("listening");
    let error = place.refused();
    assert!(matches!(error, SocketError::Locked(_)), "{error}");
    assert_eq!(error.exit_code(), 69);
}

#[test]
fn a_stale_socket_of_ours_is_replaced() {
    let place = Place::new();
    drop(listen(&place.path(), None).expect("listening"));
    assert!(place.path().exists());
    let _second = listen(&place.path(), None).expect("listening again");
    UnixStream::connect(place.path()).expect("connected");
}

#[test]
fn a_socket_that_somebody_serves_is_left_alone() {
    let place = Place::made();
    let _other = UnixListener::bind(place.path()).expect("bound");
    let error = place.refused();
    assert!(matches!(error, SocketError::InUse(_)), "{error}");
    assert_eq!(error.exit_code(), 69);
}

#[test]
fn a_symlink_a_directory_and_a_file_are_named() {
    type Make = fn(&Path);
    let makes: [(Make, &str); 3] = [
        (|path| symlink("/nonexistent", path).expect("a link"), "a symbolic link"),
        (|path| fs::create_dir(path).expect("a directory"), "a directory"),
        (|path| fs::write(path, "text").expect("a file"), "a file"),
    ];
    for (make, words) in makes {
        let place = Place::made();
        make(&place.path());
        let error = place.refused();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit_code(), 69);
        assert!(fs::symlink_metadata(place.path()).is_ok(), "left alone");
    }
}

#[test]
fn somebody_elses_socket_is_a_matter_of_permission() {
    let place = Place::made();
    drop(UnixListener::bind(place.path()).expect("bound"));
    // Only root can make one.
    if nix::unistd::chown(&place.path(), Some(12_345.into()), None).is_err() {
        return;
    }
    let error = place.refused();
    assert!(matches!(error, SocketError::Foreign { uid: 12_345, .. }), "{error}");
    assert_eq!(error.exit_code(), 77);
}

#[test]
fn a_directory_that_anybody_writes_is_refused() {
    let place = Place::made();
    fs::set_permissions(&place.0, Permissions::from_mode(0o777)).expect("ours");
    assert_eq!(place.refused().exit_code(), 77);
}

#[test]
fn a_lock_that_is_a_symlink_creates_nothing() {
    let place = Place::made();
    symlink(place.0.join("elsewhere"), place.0.join("agent.sock.lock")).expect("a link");
    place.refused();
    assert!(!place.0.join("elsewhere").exists());
}

#[test]
fn a_path_that_is_none_is_a_matter_of_usage() {
    let long = format!("/tmp/{}", "x".repeat(MAX_PATH_BYTES));
    for path in ["agent.sock", "/", long.as_str()] {
        let error = listen(Path::new(path), None).expect_err("refused");
        assert_eq!(error.exit_code(), 64, "{error}");
    }
}

#[test]
fn a_socket_of_a_successor_is_not_unlinked() {
    let place = Place::new();
    let socket = listen(&place.path(), None).expect("listening");
    fs::remove_file(place.path()).expect("removed");
    let _other = UnixListener::bind(place.path()).expect("bound");
    socket.unlink();
    assert!(place.path().exists());
}
