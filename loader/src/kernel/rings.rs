//! Both rings behind one epoll fd.

use libbpf_rs::{AsRawLibbpf, MapCore, MapHandle, RingBuffer, RingBufferBuilder, libbpf_sys};
use ratatosk_abi::RecordHeader;
use std::{cell::RefCell, os::fd::BorrowedFd, rc::Rc};
use zerocopy::FromBytes;

/// Records taken from a ring in one go. A producer that never stops must not keep us in the loop for ever.
const DRAIN_RECORDS: u64 = 8 * 1024;
/// Places of the rings in the order in which they were added.
const CONTROL: u32 = 0;
const DATA: u32 = 1;

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
    taken.borrow_mut().extend_from_slice(record);
    0
}

impl Rings {
    /// Maps both rings.
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
    ///
    /// Data is taken first: then the control records that came before any of it, a fork say, are surely there too.
    pub fn drain(&mut self, control: &mut dyn FnMut(&[u8]), data: &mut dyn FnMut(&[u8])) {
        self.consume(DATA);
        self.consume(CONTROL);
        each_record(&mut self.control.borrow_mut(), control);
        each_record(&mut self.data.borrow_mut(), data);
    }
}

impl Rings {
    fn consume(&mut self, ring: u32) {
        let rings = self.rings.as_libbpf_object();
        // SAFETY: `rings` lives, and both places were filled when it was built.
        let ring = unsafe { libbpf_sys::ring_buffer__ring(rings.as_ptr(), ring) };
        // SAFETY: the ring belongs to `rings`; its callback only appends to a vector.
        let _taken = unsafe { libbpf_sys::ring__consume_n(ring, DRAIN_RECORDS) };
    }
}

fn each_record(taken: &mut Vec<u8>, sink: &mut dyn FnMut(&[u8])) {
    for record in ratatosk_abi::Records::new(taken).flatten() {
        sink(record.bytes);
    }
    taken.clear();
}
