//! Of the environment of a process, the three variables that may be told.

use crate::process::ipc::MAX_ENVIRONMENT_BYTES;
use std::io::{self, Read};

/// Nothing else ever leaves this process.
const TOLD: [&[u8]; 3] = [b"OTEL_SERVICE_NAME=", b"OTEL_SERVICE_NAMESPACE=", b"OTEL_RESOURCE_ATTRIBUTES="];
/// Longest environment that is searched: the kernel lets it be a quarter of the stack, so this is no usual one.
const MAX_SEARCHED_BYTES: u64 = 2 << 20;

/// Those that are set, each with its NUL; the first of each name, and none that would be cut.
///
/// # Errors
/// What read(2) says: the process ended.
pub(super) fn read(environ: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    environ.take(MAX_SEARCHED_BYTES).read_to_end(&mut bytes)?;
    Ok(told(&bytes))
}

fn told(environ: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    for name in TOLD {
        let variable = environ.split(|byte| *byte == 0).find(|variable| variable.starts_with(name));
        let fits = |variable: &&[u8]| kept.len() + variable.len() < MAX_ENVIRONMENT_BYTES;
        if let Some(variable) = variable.filter(fits) {
            kept.extend_from_slice(variable);
            kept.push(0);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_are_told() {
        let environ =
            b"PATH=/bin\0OTEL_SERVICE_NAME=shop\0SECRET=OTEL_SERVICE_NAME=x\0OTEL_SERVICE_NAMESPACE=eu\0\
            OTEL_SERVICE_NAME=late\0OTEL_EXPORTER_OTLP_HEADERS=key=1\0OTEL_RESOURCE_ATTRIBUTES=a=b";
        let kept = b"OTEL_SERVICE_NAME=shop\0OTEL_SERVICE_NAMESPACE=eu\0OTEL_RESOURCE_ATTRIBUTES=a=b\0";
        assert_eq!(told(environ), kept);
    }

    #[test]
    fn what_would_be_cut_is_left_out() {
        let long = [b"OTEL_RESOURCE_ATTRIBUTES=", [b'x'; MAX_ENVIRONMENT_BYTES].as_slice()].concat();
        let environ = [&long[..], b"\0OTEL_SERVICE_NAME=shop"].concat();
        assert_eq!(told(&environ), b"OTEL_SERVICE_NAME=shop\0");
        let fits = [b"OTEL_SERVICE_NAME=".as_slice(), &[b'x'; MAX_ENVIRONMENT_BYTES - 19]].concat();
        assert_eq!(told(&fits).len(), MAX_ENVIRONMENT_BYTES);
    }

    #[test]
    fn an_empty_environment_tells_nothing() {
        assert!(told(b"").is_empty() && told(b"\0\0").is_empty());
    }
}
