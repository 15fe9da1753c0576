//! Both rings behind one epoll fd.

use libbpf_rs::{MapCore, MapHandle, RingBuffer, RingBufferBuilder};
use ratatosk_abi::RecordHeader;
use std::{cell::RefCell, os::fd::BorrowedFd, rc::Rc};
use zerocopy::FromBytes;

/// Bytes taken from a ring in one go. A producer that never stops must not keep us in the loop for ever.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;

/// Records taken in one go, back to back.
type Taken = Rc<RefCell<Vec<u8>>>;

/// The control ring and the data ring.
#[derive(Debug)]
pub struct Rings {
    rings: RingBuffer<'static>,
    control: Taken,
    data: Taken,
}

/// Keeps the true length of a record: the reservation was of its size class.
fn keep(taken: &Taken, bytes: &[u8]) -> i32 {
    let len = RecordHeader::read_from_prefix(bytes).map_or(0, |(header, _)| header.len);
    let record = usize::try_from(len).ok().and_then(|len| bytes.get(..len)).unwrap_or(bytes);
    let mut taken = taken.borrow_mut();
    taken.extend_from_slice(record);
    // a negative value ends the drain after this record
    if taken.len() < DRAIN_BYTES { 0 } else { -1 }
}

impl Rings {
    /// Maps both rings. The control ring is drained first.
    ///
    /// # Errors
    /// What libbpf says.
    pub fn new(control_map: &MapHandle, data_map: &MapHandle) -> libbpf_rs::Result<Self> {
        let (control, data) = (Taken::default(), Taken::default());
        let mut builder = RingBufferBuilder::new();
        for (map, taken) in [(control_map, Rc::clone(&control)), (data_map, Rc::clone(&data))] {
            debug_assert!(map.max_entries() > 0, "a ring has a size");
            builder.add(map, move |bytes| keep(&taken, bytes))?;
        }
        Ok(Self { rings: builder.build()?, control, data })
    }

    /// Readable when one of the rings wakes its reader. Works in a forked child that closed every other BPF fd.
    #[must_use]
    pub fn epoll_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the epoll fd belongs to `rings`, which lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.rings.epoll_fd()) }
    }

    /// Hands out what is in the rings now, control first.
    pub fn drain(&mut self, control: &mut dyn FnMut(&[u8]), data: &mut dyn FnMut(&[u8])) {
        self.rings.consume_raw();
        each_record(&mut self.control.borrow_mut(), control);
        each_record(&mut self.data.borrow_mut(), data);
    }
}

fn each_record(taken: &mut Vec<u8>, sink: &mut dyn FnMut(&[u8])) {
    for record in ratatosk_abi::Records::new(taken).flatten() {
        sink(record.bytes);
    }
    taken.clear();
}
