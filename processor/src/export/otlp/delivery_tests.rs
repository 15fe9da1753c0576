use super::*;

fn backoff() -> Backoff {
    Backoff { longest: Duration::from_secs(5), ..Backoff::default() }
}

#[test]
fn waits_double_up_to_the_longest_and_differ_by_chance() {
    let mut waits = Waits::new(backoff());
    for full in [500, 1_000, 2_000, 4_000, 5_000, 5_000] {
        let wait = waits.next_wait(None).as_millis();
        assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
    }
    let all: std::collections::BTreeSet<_> = (0..50).map(|_| Waits::new(backoff()).next_wait(None)).collect();
    assert!(all.len() > 10);
}

#[test]
fn what_the_collector_asks_for_is_the_least_wait() {
    let mut waits = Waits::new(backoff());
    assert_eq!(waits.next_wait(Some(Duration::from_secs(9))), Duration::from_secs(9));
    assert!(waits.next_wait(Some(Duration::ZERO)) >= Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn the_same_failure_is_told_once_a_minute() {
    let mut complaints = Complaints { signal: "traces", place: String::new(), last: None };
    assert!(complaints.is_news("connect") && !complaints.is_news("connect"));
    assert!(complaints.is_news("rejected") && complaints.is_news("connect"));
    tokio::time::advance(REPEAT).await;
    assert!(complaints.is_news("connect"));
    complaints.accepted(0, "");
    assert!(complaints.is_news("connect"));
}
