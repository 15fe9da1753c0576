//! Spans that are left out because of what they say: `filter.application`.
//!
//! A span stays if every criterion holds. Names are those of the semantic conventions, with dots or underscores; a span
//! without the attribute counts as one whose attribute is empty, as in OBI.

use crate::{
    model::Span,
    setting::{InvalidSetting, optional_scalar},
};
use globset::{Glob, GlobMatcher};
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap};

/// Criteria by attribute: `filter.application`.
pub type FilterSettings = BTreeMap<String, Criterion>;

const ONE_KIND: &str = "match, or not_match, or comparisons with numbers (equals, not_equals, greater_than, \
greater_equals, less_than, less_equals)";

/// What the value of an attribute must be.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Criterion {
    /// A glob that it matches; `*` stands for any text.
    #[serde(deserialize_with = "optional_scalar")]
    pub r#match: Option<String>,
    /// A glob that it does not match.
    #[serde(deserialize_with = "optional_scalar")]
    pub not_match: Option<String>,
    /// The number that it is.
    pub equals: Option<i64>,
    /// A number that it is not.
    pub not_equals: Option<i64>,
    /// A number that it is above.
    pub greater_than: Option<i64>,
    /// The least that it may be.
    pub greater_equals: Option<i64>,
    /// A number that it is below.
    pub less_than: Option<i64>,
    /// The most that it may be.
    pub less_equals: Option<i64>,
}

/// Which spans stay.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    rules: Vec<Rule>,
    unsupported: Vec<String>,
}

#[derive(Clone, Debug)]
struct Rule {
    value: Attribute,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Glob { glob: GlobMatcher, must_match: bool },
    Numbers(Box<Criterion>),
}

/// Reads an attribute of a span.
type Attribute = fn(&Span) -> Cow<'_, str>;

/// Of the value of an attribute with a number of the settings.
type Compare = fn(&i64, &i64) -> bool;

/// Every attribute that spans have.
const ATTRIBUTES: [(&str, Attribute); 16] = [
    ("client.address", |span| span.peer.ip().to_canonical().to_string().into()),
    ("error.type", |span| span.http.error_type.as_deref().unwrap_or_default().into()),
    ("http.request.body.size", |span| span.http.request_body_bytes.to_string().into()),
    ("http.request.method", |span| span.http.method_token().into()),
    ("http.response.body.size", |span| span.http.response_body_bytes.to_string().into()),
    ("http.response.status_code", |span| span.http.status.to_string().into()),
    ("http.route", |span| span.http.route.as_deref().unwrap_or_default().into()),
    ("network.protocol.version", |span| span.http.version.into()),
    ("server.address", |span| (&*span.http.server_address).into()),
    ("server.port", |span| span.http.server_port.to_string().into()),
    ("service.instance.id", |span| span.service.instance_id.as_str().into()),
    ("service.name", |span| span.service.name.as_str().into()),
    ("service.namespace", |span| span.service.namespace.as_str().into()),
    ("span.name", |span| span.name().into()),
    ("url.path", |span| (&*span.http.path).into()),
    ("url.scheme", |_| "http".into()),
];

/// Attributes, or families of them, that OBI can filter by and no span of ours has yet.
const ONLY_OBI: [&str; 12] = [
    "client",
    "container_",
    "db_",
    "dns_",
    "gen_ai_",
    "k8s_",
    "messaging_",
    "rpc_",
    "server",
    "source",
    "span_kind",
    "status_code",
];

impl Filter {
    /// The criteria in `settings`.
    ///
    /// # Errors
    /// [`InvalidSetting`]: an attribute that nobody knows, a criterion that says nothing or too much, or no glob.
    pub fn new(settings: &FilterSettings) -> Result<Self, InvalidSetting> {
        let mut filter = Self::default();
        for (name, criterion) in settings {
            let test = criterion.test(&format!("filter.application.{name}"))?;
            let known = ATTRIBUTES.iter().find(|(known, _)| underscored(known) == underscored(name));
            match known {
                Some((_, value)) => filter.rules.push(Rule { value: *value, test }),
                None if is_only_obi(name) => filter.unsupported.push(name.clone()),
                None => {
                    let allowed = "an attribute of HTTP spans, like url.path or http.response.status_code";
                    return Err(InvalidSetting::new("filter.application", name, allowed));
                }
            }
        }
        Ok(filter)
    }

    /// Attributes of OBI that were named and are not filtered by, because no span has them yet.
    #[must_use]
    pub fn unsupported(&self) -> &[String] {
        &self.unsupported
    }

    /// Every criterion holds for `span`.
    #[must_use]
    pub fn keeps(&self, span: &Span) -> bool {
        self.rules.iter().all(|rule| rule.test.holds(&(rule.value)(span)))
    }
}

fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

fn is_only_obi(name: &str) -> bool {
    let name = underscored(name);
    ONLY_OBI.iter().any(|known| name == *known || (known.ends_with('_') && name.starts_with(known)))
}

impl Criterion {
    fn test(&self, key: &str) -> Result<Test, InvalidSetting> {
        let globs =
            [&self.r#match, &self.not_match].map(|glob| glob.as_ref().filter(|glob| !glob.is_empty()));
        let text = || format!("{} criteria", self.numbers().count() + globs.iter().flatten().count());
        match (globs, self.numbers().count()) {
            ([None, None], 1..) => Ok(Test::Numbers(Box::new(self.clone()))),
            ([Some(glob), None], 0) => compiled(&format!("{key}.match"), glob, true),
            ([None, Some(glob)], 0) => compiled(&format!("{key}.not_match"), glob, false),
            _ => Err(InvalidSetting::new(key, text(), ONE_KIND)),
        }
    }

    /// The comparisons, each with its number.
    fn numbers(&self) -> impl Iterator<Item = (Compare, i64)> {
        let all: [(Compare, Option<i64>); 6] = [
            (i64::eq, self.equals),
            (i64::ne, self.not_equals),
            (i64::gt, self.greater_than),
            (i64::ge, self.greater_equals),
            (i64::lt, self.less_than),
            (i64::le, self.less_equals),
        ];
        all.into_iter().filter_map(|(compare, number)| Some((compare, number?)))
    }
}

fn compiled(key: &str, glob: &str, must_match: bool) -> Result<Test, InvalidSetting> {
    let compiled = Glob::new(glob);
    let glob = compiled.map_err(|_| InvalidSetting::new(key, glob, "a glob like /api/* or {GET,POST}"))?;
    Ok(Test::Glob { glob: glob.compile_matcher(), must_match })
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Glob { glob, must_match } => glob.is_match(value) == *must_match,
            Self::Numbers(criterion) => value
                .parse::<i64>()
                .is_ok_and(|value| criterion.numbers().all(|(compare, number)| compare(&value, &number))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::samples::{client_span, server_span};

    /// Which of the two samples stay: a GET of /users/7, status 200; a BREW to /users/{id}, status 0.
    fn kept(json: &str) -> Result<[bool; 2], InvalidSetting> {
        let filter = Filter::new(&serde_json::from_str(json).expect(json))?;
        Ok([server_span(), client_span()].map(|span| filter.keeps(&span)))
    }

    #[test]
    fn every_criterion_must_hold() {
        for (json, expected) in [
            ("{}", [true, true]),
            (r#"{"url.path": {"match": "/users/*"}}"#, [true, true]),
            (r#"{"url_path": {"not_match": "/users/*"}}"#, [false, false]),
            (r#"{"http.request.method": {"match": "{GET,POST}"}}"#, [true, false]),
            (r#"{"http_route": {"match": "?*"}}"#, [false, true]),
            (r#"{"http_route": {"not_match": "?*"}}"#, [true, false]),
            (r#"{"service.name": {"match": "nginx"}, "server.port": {"equals": 8080}}"#, [true, false]),
            (r#"{"http.response.status_code": {"greater_equals": 100, "less_than": 300}}"#, [true, false]),
            (r#"{"http.response.status_code": {"not_equals": 200}}"#, [false, true]),
            (r#"{"http.response.body.size": {"greater_than": 614}}"#, [true, true]),
            (r#"{"service.name": {"equals": 1}}"#, [false, false]),
            (r#"{"http_response_status_code": {"match": 200}}"#, [true, false]),
            (r#"{"error.type": {"match": "no_*"}}"#, [false, true]),
            (r#"{"span.name": {"match": "GET"}}"#, [true, false]),
        ] {
            assert_eq!(kept(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_says_nothing_or_too_much_is_refused_by_name() {
        for (json, said) in [
            (r#"{"url.path": {}}"#, "filter.application.url.path"),
            (r#"{"url.path": {"match": ""}}"#, "filter.application.url.path"),
            (r#"{"url.path": {"match": "a", "not_match": "b"}}"#, "filter.application.url.path"),
            (r#"{"url.path": {"match": "a", "equals": 1}}"#, "2 criteria"),
            (r#"{"url.path": {"match": "[a"}}"#, "filter.application.url.path.match"),
            (r#"{"url.pth": {"match": "a"}}"#, "url.pth"),
        ] {
            let error = kept(json).expect_err(json).to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(serde_json::from_str::<FilterSettings>(r#"{"url.path": {"mach": "a"}}"#).is_err());
    }

    #[test]
    fn what_no_span_has_yet_is_named_and_not_filtered_by() {
        let json = r#"{"k8s.namespace.name": {"match": "prod"}}"#;
        let filter = Filter::new(&serde_json::from_str(json).expect(json)).expect("known to OBI");
        assert_eq!(filter.unsupported(), ["k8s.namespace.name"]);
        assert!(filter.keeps(&server_span()));
    }
}
