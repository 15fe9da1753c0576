use super::*;
use crate::server::ledger::{DropReason, Ledger};

const BOUNDS: QueueBounds = QueueBounds { queue_bytes: 1000, control_bytes: 400, batch_bytes: 128 };

/// Small, fast, and the same sequence on every machine (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn record(&mut self) -> Vec<u8> {
        vec![0; usize::try_from(32 + self.below(60)).expect("small")]
    }
}

struct Rig {
    queue: Queue,
    ledger: Ledger,
    random: Random,
}

impl Rig {
    fn step(&mut self, time_ns: u64) {
        let record = self.random.record();
        match self.random.below(10) {
            0..=3 => self.data(&record, time_ns),
            4..=5 => self.control(&record, time_ns),
            6..=7 => drop(self.queue.next_batch()),
            8 => self.acknowledge(),
            _ => self.queue.rewind(),
        }
    }

    fn data(&mut self, record: &[u8], time_ns: u64) {
        self.ledger.produce(1);
        if !self.queue.push_data(record, time_ns) {
            self.ledger.discard(DropReason::QueueFull, 1);
        }
    }

    fn control(&mut self, record: &[u8], time_ns: u64) {
        self.ledger.produce(17);
        if !self.queue.push_control(record, time_ns) {
            self.ledger.discard(DropReason::Collapsed, self.queue.collapse() + 1);
        }
    }

    fn acknowledge(&mut self) {
        let through = self.random.below(self.queue.last_number + 2);
        if let Ok(records) = self.queue.acknowledge(through) {
            self.ledger.acknowledge(records);
        }
    }
}

#[test]
fn identity_and_bounds_hold_under_random_operations() {
    for seed in 1..200 {
        let random = Random(seed * 0x9E37_79B9);
        let mut rig = Rig { queue: Queue::new(BOUNDS), ledger: Ledger::in_process(), random };
        for time_ns in 0..500 {
            rig.step(time_ns);
            assert_eq!(rig.ledger.outstanding(), rig.queue.held_records(), "seed {seed}");
            assert!(rig.queue.held_bytes() <= 1000 + 400 + 128, "seed {seed}");
            assert!(rig.queue.watermark_ns(time_ns) <= time_ns);
        }
    }
}

#[test]
fn numbers_have_no_gap_although_control_collapsed() {
    let mut queue = Queue::new(BOUNDS);
    assert!(queue.push_control(&[0; 100], 1));
    assert_eq!(queue.next_batch().map(|b| b.number), Some(1));
    assert!(queue.push_control(&[0; 100], 2));
    assert_eq!(queue.collapse(), 1);
    assert!(queue.push_data(&[0; 100], 3));
    assert_eq!(queue.next_batch().map(|b| b.number), Some(2));
    assert_eq!(queue.next_batch(), None);
}

#[test]
fn a_new_stream_gets_what_is_unacknowledged_first() {
    let mut queue = Queue::new(BOUNDS);
    for time_ns in 1..=3 {
        assert!(queue.push_data(&[0; 100], time_ns));
        queue.next_batch().expect("a batch");
    }
    assert_eq!(queue.acknowledge(1), Ok(1));
    queue.rewind();
    assert_eq!(queue.watermark_ns(10), 2);
    let numbers: Vec<u64> = std::iter::from_fn(|| queue.next_batch()).map(|b| b.number).collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(queue.watermark_ns(10), 10);
}

#[test]
fn full_of_data_still_takes_control() {
    let mut queue = Queue::new(BOUNDS);
    assert!(queue.push_data(&[0; 1000], 0));
    assert!(!queue.push_data(&[0; 1], 0));
    assert!(queue.push_control(&[0; 400], 0));
    assert!(!queue.push_control(&[0; 1], 0));
}

#[test]
fn a_processor_that_never_acknowledges_is_sent_a_bounded_window() {
    let mut queue = Queue::new(BOUNDS);
    let sent = (0..100).filter(|_| queue.push_control(&[0; 128], 0) && queue.next_batch().is_some()).count();
    assert_eq!(sent, 8);
}

#[test]
fn an_acknowledgement_beyond_what_was_sent_changes_nothing() {
    let mut queue = Queue::new(BOUNDS);
    assert!(queue.push_data(&[0; 100], 0));
    assert_eq!(queue.acknowledge(1), Err(AckBeyondSent { through: 1, last: 0 }));
    queue.next_batch().expect("a batch");
    assert_eq!(queue.acknowledge(1), Ok(1));
    assert_eq!(queue.acknowledge(1), Ok(0));
    assert_eq!(queue.acknowledged_through(), 1);
}
