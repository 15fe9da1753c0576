use super::*;
use proptest::prelude::*;

const DURATION: &str = "http.server.request.duration";
const CLIENT_DURATION: &str = "http.client.request.duration";

fn selection(json: &str) -> AttributeSelection {
    AttributeSelection::new(&serde_json::from_str(json).expect(json)).expect(json)
}

/// What a section tells, of a few attributes.
fn on(selection: &AttributeSelection, section: &str) -> Vec<&'static str> {
    let some =
        ["client.address", "http.request.method", "http.route", "server.port", "service.name", "url.path"];
    some.into_iter().filter(|name| selection.is_on(section, name)).collect()
}

const DEFAULT: [&str; 4] = ["http.request.method", "http.route", "server.port", "service.name"];

#[test]
fn without_settings_the_defaults_of_obi_are_told() {
    let selection = AttributeSelection::default();
    assert_eq!(on(&selection, DURATION), DEFAULT);
    assert!(selection.is_on(TRACES, "url.query"));
    assert!(!selection.is_on(DURATION, "client.address"));
}

#[test]
fn what_can_not_be_selected_is_always_told() {
    let selection = selection(r#"{"*": {"include": ["service.name"]}}"#);
    assert!(selection.is_on(TRACES, "http.request.method"));
    assert!(selection.is_on("some.other.metric", "server.port"));
}

#[test]
fn included_attributes_replace_the_defaults_and_excluded_ones_leave_them() {
    for (json, expected) in [
        (
            r#"{"http.server.request.duration": {"include": ["url.path", "service.*"]}}"#,
            &["service.name", "url.path"][..],
        ),
        (r#"{"http_server_request_duration_seconds": {"include": ["url_path"]}}"#, &["url.path"]),
        (r#"{"http_server_request_duration_seconds_bucket": {"include": ["url_path"]}}"#, &["url.path"]),
        (r#"{"http.server.*": {"exclude": ["server*", "http.r*"]}}"#, &["service.name"]),
        (
            r#"{"*": {"include": ["*"], "exclude": ["url_path"]}}"#,
            &["client.address", "http.request.method", "http.route", "server.port", "service.name"],
        ),
        (r#"{"*": {"include": ["k8s.*"]}}"#, &DEFAULT),
        (r#"{"http.client.*": {"include": ["url.path"]}}"#, &DEFAULT),
        (
            r#"{"*": {"include": ["url.path"]}, "http.server.request.duration": {"include": ["http.route"]}}"#,
            &["http.route", "url.path"],
        ),
        (r#"{"*": {"include": ["*"]}, "http.*": {"exclude": ["*"]}}"#, &[]),
        ("{}", &DEFAULT),
    ] {
        assert_eq!(on(&selection(json), DURATION), expected, "{json}");
    }
}

#[test]
fn sections_do_not_touch_each_other() {
    let selection = selection(
        r#"{"http.server.request.duration": {"exclude": ["*"]}, "traces": {"exclude": ["url.query"]}}"#,
    );
    assert_eq!(on(&selection, DURATION), [""; 0]);
    assert_eq!(on(&selection, CLIENT_DURATION), DEFAULT);
    assert!(!selection.is_on(TRACES, "url.query"));
}

#[test]
fn what_matches_nothing_is_named() {
    let selection = selection(
        r#"{"beyla_network_flow_bytes": {"include": ["src.port"]}, "*": {"include": ["k8s.*", "http.route"]}}"#,
    );
    assert_eq!(selection.unmatched(), ["beyla_network_flow_bytes", "k8s.*"]);
}

#[test]
fn a_glob_that_is_none_is_refused_by_name() {
    for (json, said) in [
        (r#"{"traces": {"include": ["[a"]}}"#, "attributes.select.traces.include"),
        (r#"{"tr[": {}}"#, "tr["),
    ] {
        let error = AttributeSelection::new(&serde_json::from_str(json).expect(json)).expect_err(json);
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(serde_json::from_str::<SelectSettings>(r#"{"traces": {"includes": []}}"#).is_err());
}

proptest! {
    #[test]
    fn any_settings_are_taken_or_refused(section in ".{0,20}", include in ".{0,20}", exclude in ".{0,20}") {
        let lists = InclusionLists { include: vec![include], exclude: vec![exclude] };
        let _ = AttributeSelection::new(&SelectSettings::from([(section, lists)]));
    }
}
