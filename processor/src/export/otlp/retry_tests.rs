use super::super::failure::{Failure, Kind};
use super::*;

const LOST: InDoubt = InDoubt::SendAgain;

fn backoff() -> Backoff {
    Backoff { longest: Duration::from_secs(5), ..Backoff::default() }
}

fn failure(kind: Kind) -> Failure {
    Failure::new(kind, "")
}

fn lost() -> Answer {
    Answer::Lost(failure(Kind::Unconfirmed))
}

fn later(wait: Option<u64>) -> Answer {
    Answer::Later { wait: wait.map(Duration::from_secs), failure: failure(Kind::Unavailable) }
}

fn unsure() -> Answer {
    Answer::Unsure { wait: None, failure: failure(Kind::Unconfirmed) }
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
fn what_the_collector_asks_for_is_the_least_wait_and_not_the_same_for_all() {
    let asked = Some(Duration::from_secs(9));
    let all: std::collections::BTreeSet<_> =
        (0..50).map(|_| Waits::new(backoff()).next_wait(asked)).collect();
    assert!(all.iter().all(|wait| (9_000..=9_500).contains(&wait.as_millis())), "{all:?}");
    assert!(all.len() > 10);
    assert!(Waits::new(backoff()).next_wait(Some(Duration::ZERO)) >= Duration::from_millis(250));
}

#[test]
fn a_first_wait_of_nothing_grows() {
    let mut waits = Waits::new(Backoff { initial: Duration::ZERO, ..backoff() });
    assert!(waits.next_wait(None) >= LEAST_WAIT / 2);
    assert!(waits.next_wait(None) >= LEAST_WAIT);
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_end_is_as_long_as_all_attempts_and_one_more_follows() {
    let mut attempts = Attempts::new(backoff(), LOST);
    let Next::Wait(wait) = attempts.after(&later(Some(u64::MAX))) else { panic!() };
    assert!((300..=301).contains(&wait.as_secs()), "{wait:?}");
    tokio::time::advance(wait).await;
    let over = Next::End(Delivered::Failed { reason: "retries_exhausted" });
    assert_eq!(attempts.after(&later(Some(1))), over);
}

#[tokio::test(start_paused = true)]
async fn what_gets_no_answer_is_sent_a_few_times_only() {
    let mut attempts = Attempts::new(backoff(), LOST);
    for _ in 1..MAX_LOST {
        assert!(matches!(attempts.after(&lost()), Next::Wait(_)));
        assert!(matches!(attempts.after(&later(None)), Next::Wait(_)), "a collector that is away costs none");
    }
    assert_eq!(attempts.after(&lost()), Next::End(Delivered::Unknown));
}

#[tokio::test(start_paused = true)]
async fn what_adds_up_is_not_sent_again_without_an_answer_that_asks_for_it() {
    assert_eq!(Attempts::new(backoff(), InDoubt::GiveUp).after(&lost()), Next::End(Delivered::Unknown));
    for answer in [later(None), unsure()] {
        assert!(matches!(Attempts::new(backoff(), InDoubt::GiveUp).after(&answer), Next::Wait(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_attempt_left_in_doubt_no_later_one_makes_sure() {
    for doubtful in [lost(), unsure()] {
        let mut attempts = Attempts::new(backoff(), LOST);
        assert_eq!(attempts.given_up("shutdown"), Delivered::Failed { reason: "shutdown" });
        attempts.after(&doubtful);
        assert_eq!(attempts.given_up("shutdown"), Delivered::Unknown);
        let refused = Answer::Refused(failure(Kind::Rejected));
        assert_eq!(attempts.after(&refused), Next::End(Delivered::Unknown));
        let accepted = Answer::Accepted { rejected: 0, message: String::new() };
        assert_eq!(attempts.after(&accepted), Next::End(Delivered::Accepted { rejected: 0 }));
    }
}
