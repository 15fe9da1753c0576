//! Queries of URLs, without what nobody may read.
//!
//! A name is compared exactly, as OBI does, percent-decoded first. Its value is replaced up to the next `&`; where `;` parts
//! parameters, as some servers have it, what follows goes with it rather than out.

use crate::model::RawQuery;
use serde::Deserialize;
use std::{borrow::Cow, collections::HashSet};

/// What stands for a value (semantic conventions for `url.query`).
const REDACTED: &str = "REDACTED";

/// Names whose values are redacted unless settings say otherwise: those of OBI.
pub const DEFAULT_SENSITIVE: [&str; 38] = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "SecurityToken",
    "X-Goog-Signature",
    "sig",
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "jwt",
    "session",
    "sid",
    "signature",
    "api_key",
    "apikey",
    "client_secret",
    "secret",
    "password",
    "pass",
    "pwd",
    "reset_token",
    "invite_token",
    "verify_token",
    "otp",
    "totp",
    "mfa_code",
    "verification_code",
    "SAMLResponse",
    "assertion",
    "card",
    "cc",
    "pan",
    "cvv",
    "ssn",
    "tax_id",
];

/// `attributes.sensitive_query_params`. Variables: `SENSITIVE_QUERY_PARAMS_ADD`, `SENSITIVE_QUERY_PARAMS_REMOVE`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionSettings {
    /// Names beside [`DEFAULT_SENSITIVE`].
    pub add: Vec<String>,
    /// Names of [`DEFAULT_SENSITIVE`] whose values may be told.
    pub remove: Vec<String>,
}

/// Takes values out of queries.
#[derive(Clone, Debug)]
pub struct Redaction {
    sensitive: HashSet<Box<str>>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self::new(&RedactionSettings::default())
    }
}

impl Redaction {
    /// Redacts what the settings name.
    #[must_use]
    pub fn new(settings: &RedactionSettings) -> Self {
        let kept =
            DEFAULT_SENSITIVE.iter().filter(|name| !settings.remove.iter().any(|other| other == *name));
        let sensitive =
            kept.copied().chain(settings.add.iter().map(String::as_str)).map(Into::into).collect();
        Self { sensitive }
    }

    /// `query` as it may be told. Allocates nothing if there is none.
    #[must_use]
    pub fn redact(&self, query: &RawQuery) -> Box<str> {
        let query = query.reveal();
        if query.is_empty() {
            return Box::default();
        }
        let mut out = String::with_capacity(query.len());
        for (n, parameter) in query.split('&').enumerate() {
            if n > 0 {
                out.push('&');
            }
            self.append(&mut out, parameter);
        }
        out.into()
    }

    fn append(&self, out: &mut String, parameter: &str) {
        match self.secret_at(parameter).and_then(|at| parameter.get(..at)) {
            Some(before) => {
                out.push_str(before);
                out.push_str(REDACTED);
            }
            None => out.push_str(parameter),
        }
    }

    /// Where the value of a sensitive name begins.
    fn secret_at(&self, parameter: &str) -> Option<usize> {
        let mut start = 0;
        for part in parameter.split(';') {
            if let Some((name, _)) = part.split_once('=')
                && self.sensitive.contains(&*decoded(name))
            {
                return Some(start + name.len() + 1);
            }
            start += part.len() + 1;
        }
        None
    }
}

/// `name` without percent-encoding; what is not valid stays as it is.
fn decoded(name: &str) -> Cow<'_, str> {
    if !name.contains(['%', '+']) {
        return Cow::Borrowed(name);
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, left) = match (first, after) {
            (b'+', _) => (b' ', after),
            (b'%', [high, low, left @ ..]) => match hex(*high).zip(hex(*low)) {
                Some((high, low)) => (high << 4 | low, left),
                None => (b'%', after),
            },
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redact(query: &str) -> String {
        Redaction::default().redact(&RawQuery::new(query.into())).into()
    }

    #[test]
    fn values_of_sensitive_names_are_replaced_and_others_stay() {
        for (query, told) in [
            ("", ""),
            ("q=shoes&page=2", "q=shoes&page=2"),
            ("token=abc", "token=REDACTED"),
            ("a=1&token=abc&b=2", "a=1&token=REDACTED&b=2"),
            ("token=a=b==&x", "token=REDACTED&x"),
            ("token=", "token=REDACTED"),
            ("token", "token"),
            ("TOKEN=abc", "TOKEN=abc"),
            ("my_token=abc", "my_token=abc"),
            ("%74oken=abc", "%74oken=REDACTED"),
            ("access%5Ftoken=abc", "access%5Ftoken=REDACTED"),
            ("%zz=1&%7=2&%", "%zz=1&%7=2&%"),
            ("a=1;token=abc;def", "a=1;token=REDACTED"),
            ("token=abc;a=1", "token=REDACTED"),
            ("&&token=x&", "&&token=REDACTED&"),
            ("X-Amz-Signature=f00&X-Amz-Date=1", "X-Amz-Signature=REDACTED&X-Amz-Date=1"),
        ] {
            assert_eq!(redact(query), told, "{query}");
        }
    }

    #[test]
    fn names_are_added_and_removed() {
        let settings = RedactionSettings { add: vec!["zip".to_owned()], remove: vec!["sid".to_owned()] };
        let redaction = Redaction::new(&settings);
        let told = redaction.redact(&RawQuery::new("sid=1&zip=2&token=3".into()));
        assert_eq!(&*told, "sid=1&zip=REDACTED&token=REDACTED");
    }

    #[test]
    fn a_query_that_was_not_redacted_can_not_be_printed() {
        let query = RawQuery::new("token=hunter2".into());
        assert_eq!(format!("{query:?}"), "RawQuery(13 bytes)");
    }

    proptest! {
        #[test]
        fn no_value_of_a_sensitive_name_gets_out(
            name in prop::sample::select(DEFAULT_SENSITIVE.to_vec()),
            secret in "S[a-z0-9=;%+.-]{4,20}S",
            before in "[a-z0-9=&;%+]{0,20}",
            after in "[a-z0-9=&;%+]{0,20}",
        ) {
            let told = redact(&format!("{before}&{name}={secret}&{after}"));
            prop_assert!(!told.contains(&secret), "{}", told);
        }

        #[test]
        fn any_text_is_redacted_once_and_for_all(query in ".{0,200}") {
            let once = redact(&query);
            prop_assert_eq!(redact(&once), once);
        }
    }
}
