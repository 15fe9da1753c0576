//! The line to the loader as operations: each time that it is looked for, and each stream until it ends.

use super::Operation;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Loader {
    connecting: Operation,
    stream: Option<Operation>,
    failed: i64,
    streams: i64,
}

impl Loader {
    /// It is looked for, from now on.
    pub(super) fn connecting(&mut self, operation: Operation) {
        (self.connecting, self.failed) = (operation, 0);
        let streams = self.streams;
        self.connecting.set("earlier_streams", || streams);
    }

    /// It was found. Ends the search.
    pub(super) fn greeted(&mut self, mut stream: Operation, tier: &str, version: &str) {
        let mut found = std::mem::take(&mut self.connecting);
        let failed = self.failed;
        found.set("failed_attempts", || failed);
        for operation in [&mut found, &mut stream] {
            operation.set("tier", || tier.to_owned());
            operation.set("loader.version", || version.to_owned());
        }
        self.stream = Some(stream);
        self.streams += 1;
    }

    /// It was not found, or lost. `true`: a stream ended by it.
    pub(super) fn lost(&mut self, why: &str) -> bool {
        let Some(mut stream) = self.stream.take() else {
            self.failed += 1;
            self.connecting.note("attempt", why);
            return false;
        };
        stream.fail("broken");
        stream.set("reason", || why.to_owned());
        true
    }
}
