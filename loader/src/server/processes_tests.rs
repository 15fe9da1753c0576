use super::*;

fn record(tgid: u32, start_ns: u64, exe_ino: u64) -> ProcessRecord {
    let mut record = ProcessRecord { exe_ino, ..ProcessRecord::default() };
    record.hdr.tgid = tgid;
    record.hdr.task_start_ns = start_ns;
    record
}

fn learn(processes: &mut Processes, record: &ProcessRecord, is_exec: bool) -> Learned {
    processes.learn(record, is_exec).expect("room")
}

fn info(text: &[u8]) -> Info {
    Info { exe: text.into(), ..Info::default() }
}

#[test]
fn an_exec_makes_a_new_handle_and_the_old_one_means_nothing() {
    let mut processes = Processes::default();
    learn(&mut processes, &record(7, 1, 1), false);
    let learned = learn(&mut processes, &record(7, 1, 2), true);
    assert_eq!((learned.new_handle, learned.replaced.map(|p| p.handle)), (Some(2), Some(1)));
    assert!(processes.get(1).is_none() && processes.was_announced(1));
    assert!(!processes.was_announced(3) && !processes.was_announced(0));
}

#[test]
fn a_process_seen_again_keeps_its_handle() {
    let mut processes = Processes::default();
    learn(&mut processes, &record(7, 1, 1), false);
    assert!(learn(&mut processes, &record(7, 1, 1), false).new_handle.is_none());
    assert_eq!(learn(&mut processes, &record(7, 2, 1), false).new_handle, Some(2));
}

#[test]
fn a_child_inherits_only_from_the_parent_that_forked_it() {
    let mut processes = Processes::default();
    learn(&mut processes, &record(7, 1, 1), false);
    processes.describe(1, info(b"/bin/parent"));
    let child = |parent_start_ns| ProcessRecord { parent_tgid: 7, parent_start_ns, ..record(8, 5, 1) };
    learn(&mut processes, &child(9), false);
    assert!(processes.inherit(2).is_none());
    learn(&mut processes, &child(1), true);
    let info = processes.inherit(3).and_then(|p| p.info.clone()).expect("inherited");
    assert_eq!(&*info.exe, b"/bin/parent");
}

#[test]
fn shared_strings_are_counted_once_and_released_with_the_last_owner() {
    let mut processes = Processes::default();
    learn(&mut processes, &record(7, 1, 1), false);
    processes.describe(1, info(b"12345"));
    learn(&mut processes, &ProcessRecord { parent_tgid: 7, parent_start_ns: 1, ..record(8, 5, 1) }, false);
    processes.inherit(2);
    assert_eq!(processes.info_bytes, 5);
    processes.exit(7);
    assert_eq!(processes.info_bytes, 5);
    processes.exit(8);
    assert_eq!(processes.info_bytes, 0);
}

#[test]
fn the_table_is_bounded() {
    let mut processes = Processes::default();
    for tgid in 0..u32::try_from(MAX_PROCESSES).expect("small") {
        learn(&mut processes, &record(tgid + 1, 1, 1), false);
    }
    assert!(processes.learn(&record(1_000_000, 1, 1), false).is_err());
    assert!(processes.learn(&record(1, 1, 2), true).is_ok());
}

#[test]
fn what_the_iterators_did_not_see_again_is_forgotten() {
    let mut processes = Processes::default();
    learn(&mut processes, &record(7, 1, 1), false);
    learn(&mut processes, &record(8, 1, 1), false);
    processes.begin_resnapshot();
    learn(&mut processes, &record(8, 1, 1), false);
    assert_eq!(processes.end_resnapshot(), 1);
    assert!(processes.by_tgid(7).is_none() && processes.by_tgid(8).is_some());
}

#[test]
fn listeners_go_with_their_socket_or_their_process() {
    let mut processes = Processes::default();
    for (cookie, tgid) in [(1, 7), (1, 8), (2, 8)] {
        let mut listen = ConnRecord::default();
        (listen.sock.cookie, listen.hdr.tgid) = (cookie, tgid);
        assert!(processes.listen(&listen));
    }
    processes.exit(7);
    assert_eq!(processes.listeners().count(), 2);
    processes.close(1);
    assert_eq!(processes.listener_after((0, 0)).map(|(key, _)| key), Some((2, 8)));
    processes.begin_resnapshot();
    assert_eq!((processes.end_resnapshot(), processes.listeners().count()), (1, 0));
    assert!(processes.listening.is_empty());
}
