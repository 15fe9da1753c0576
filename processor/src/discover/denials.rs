//! What the loader's policy denied, said once to whoever asked for it.

use super::Discovery;
use ratatosk_proto::v1::{Denied, PortRange};
use std::collections::HashSet;

/// Different denials that are said; more are only counted (`ratatosk_policy_denied_total`).
const MAX_SAID: usize = 256;
/// Characters of a text of the loader in the log.
const MAX_CHARS: usize = 256;

/// Denials that were said already, by whom and why: a service that is started again and again is no news.
#[derive(Debug, Default)]
pub struct Denials {
    said: HashSet<(String, String)>,
}

impl Denials {
    /// Marks the process, and warns with the rule that denies it.
    pub fn tell(&mut self, denied: &Denied, discovery: &mut Discovery) {
        let process = discovery.denied(denied.handle);
        let ports = ports(&denied.ports);
        let what = process.as_ref().map_or_else(|| ports.clone(), |(_, exe)| exe.clone());
        let is_news = self.said.len() < MAX_SAID && self.said.insert((what, denied.reason.clone()));
        if !is_news {
            return;
        }
        let (reason, rule, policy) = (cut(&denied.reason), cut(&denied.rule), cut(&denied.file));
        match process {
            Some((id, exe)) => tracing::warn!(
                pid = id.tgid,
                exe,
                reason,
                rule,
                policy,
                "The loader's policy does not permit to observe this process as it is now"
            ),
            None => tracing::warn!(
                ports,
                reason,
                rule,
                policy,
                "The loader's policy does not permit all that was asked for"
            ),
        }
    }
}

/// As people write them: `80,8000-8999`.
fn ports(ranges: &[PortRange]) -> String {
    let text = |range: &PortRange| match range {
        PortRange { first, last } if first == last => first.to_string(),
        PortRange { first, last } => format!("{first}-{last}"),
    };
    cut(&ranges.iter().map(text).collect::<Vec<_>>().join(","))
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}
