use super::*;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::os::fd::OwnedFd;

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).expect("socketpair")
}

#[test]
fn a_request_and_its_reply_cross() {
    let (server, attacher) = pair();
    let request = Request::describe(7, 9, 11);
    assert!(send_request(&server, &request).expect("sent"));
    let served = serve_one(&attacher, |_, reply| {
        assert_eq!((reply.tgid, reply.start_ns), (7, 9));
        reply.store(Text::Exe, b"/bin/true");
    });
    assert_eq!(served.expect("served"), Some(RequestKind::Describe));
    let reply = receive_reply(&server).expect("received").expect("waiting");
    assert_eq!((reply.token, reply.text(Text::Exe)), (11, b"/bin/true".as_slice()));
    assert_eq!((reply.text(Text::Cmdline).len(), reply.readable), (0, ratatosk_abi::readable::EXE));
}

#[test]
fn as_many_replies_as_may_be_in_flight_fit_the_socket() {
    let (_server, attacher) = pair();
    let reply = Reply::to(&Request::describe(1, 1, 1));
    // And that of a resnapshot.
    assert!((0..=MAX_IN_FLIGHT).all(|_| send_reply(&attacher, &reply).expect("sent")));
}

#[test]
fn a_longer_string_is_cut() {
    let mut reply = Reply::to(&Request::bare(RequestKind::Ready));
    reply.store(Text::Cmdline, &[7; MAX_STRING_BYTES + 1]);
    assert_eq!(reply.text(Text::Cmdline), [7; MAX_STRING_BYTES]);
}

#[test]
fn a_datagram_of_another_size_is_an_error() {
    let (server, attacher) = pair();
    for bytes in [&[0u8; 23][..], &[0u8; 25][..]] {
        send_bytes(&server, bytes).expect("sent");
        assert!(matches!(receive_request(&attacher), Err(IpcError::Size { .. })));
    }
}

#[test]
fn a_kind_that_nobody_asks_for_is_an_error_and_ready_has_no_reply() {
    let (server, attacher) = pair();
    send_request(&server, &Request { kind: 9, tgid: 0, start_ns: 0, token: 0 }).expect("sent");
    assert!(matches!(serve_one(&attacher, |_, _| {}), Err(IpcError::Kind(9))));
    send_request(&server, &Request::bare(RequestKind::Ready)).expect("sent");
    assert_eq!(serve_one(&attacher, |_, _| {}).expect("served"), Some(RequestKind::Ready));
    assert!(receive_reply(&server).expect("open").is_none());
}

#[test]
fn nothing_waiting_is_none_and_a_closed_end_is_gone() {
    let (server, attacher) = pair();
    assert!(receive_request(&attacher).expect("open").is_none());
    drop(server);
    assert!(matches!(receive_request(&attacher), Err(IpcError::Gone)));
}
