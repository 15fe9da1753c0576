//! Whether a process was looked into, and what was found: its language and what it declares.

use super::declared::{self, Declared};
use crate::model::{KtimeNs, ProcessInfo};
use ratatosk_abi::Language;
use std::time::Duration;

/// Looks at one process. The first may come before a runtime has mapped its libraries; after this many, what is found is
/// what it is.
const MAX_LOOKS: u8 = 3;
/// How long spans of a process wait for what the first look finds: the answer takes some ten milliseconds, on a machine that is
/// overloaded the two seconds that the loader gives it. A name that changes would make two services of one.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) language: Language,
    pub(super) declared: Declared,
    looks: u8,
    /// Since when an answer is waited for, in stream time.
    asked: Option<KtimeNs>,
    /// Since when it speaks and can't be asked about yet, in stream time.
    undescribed: Option<KtimeNs>,
}

impl Look {
    /// Whether to ask the loader now; if so, it counts as asked.
    pub(super) fn wants(&mut self, now: KtimeNs) -> bool {
        let wants = self.asked.is_none() && self.looks < MAX_LOOKS && !self.language.is_settled();
        if wants {
            self.asked = Some(now);
            self.looks += 1;
        }
        wants
    }

    /// What the loader told. Gives whether somebody had looked.
    pub(super) fn found(&mut self, info: &ProcessInfo<'_>) -> bool {
        if let Some(environment) = info.environment {
            self.declared = declared::parse(environment);
        }
        if let Some(language) = info.language {
            self.language = language;
            self.asked = None;
        }
        info.language.is_some()
    }

    /// A loader that knows nothing of what was asked before.
    pub(super) fn ask_again(&mut self) {
        (self.asked, self.undescribed, self.looks) = (None, None, 0);
    }

    /// Whether its name is not known yet, and will be soon. A process may be selected by its port, and speak, before the
    /// loader described it (`is_described`): only then it can be asked about.
    pub(super) fn is_awaited(&mut self, now: KtimeNs, is_described: bool) -> bool {
        let since = match self.asked {
            None if !is_described => Some(*self.undescribed.get_or_insert(now)),
            asked => asked,
        };
        self.language == Language::Unknown && since.is_some_and(|since| now < since.after(PATIENCE))
    }

    /// What a forked child has of it: the same program, and the same environment.
    pub(super) fn of_child(self) -> Self {
        Self { looks: 0, asked: None, undescribed: None, ..self }
    }
}
