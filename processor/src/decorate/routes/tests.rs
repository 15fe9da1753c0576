use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn heuristic(path: &str) -> String {
    let mut out = String::new();
    heuristic::append(&mut out, path, "*");
    out
}

fn service(name: &str) -> Service {
    Service { name: name.to_owned(), ..Service::default() }
}

fn routes(json: &str) -> Routes {
    Routes::new(&serde_json::from_str(json).expect(json)).expect(json)
}

fn asked<'a>(service: &'a Service, path: &'a str, status: u16) -> Asked<'a> {
    Asked { service, kind: SpanKind::Server, path, status, now: KtimeNs(1) }
}

fn route(routes: &mut Routes, path: &str) -> Option<String> {
    routes.route(asked(&service("shop"), path, 200), None).map(|route| route.to_string())
}

/// Paths as public APIs, frameworks and scanners have them. A path alone is its own route.
const PATHS: &str = include_str!("paths.txt");

#[test]
fn paths_as_they_are_seen_have_the_routes_that_people_would_give_them() {
    let lines = PATHS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut n = 0;
    let mut wrong = Vec::new();
    for line in lines {
        let (path, expected) = line.split_once(" -> ").unwrap_or((line, line));
        n += 1;
        let told = heuristic(path);
        if told != expected {
            wrong.push(format!("{path}: {told}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {n}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(n >= 200, "{n} paths");
}

#[test]
fn routes_of_a_service_alone_come_after_those_of_all_and_know_which_side_it_is() {
    let mut routes = routes(r#"{"unmatched": "wildcard", "patterns": ["/users/:id"]}"#);
    let own = ServiceRoutes::new(&ServiceRouteSettings {
        incoming: vec!["/users/{name}".to_owned(), "/cart/{id}".to_owned()],
        outgoing: vec!["/*".to_owned()],
    })
    .expect("valid");
    let shop = service("shop");
    for (kind, path, expected) in [
        (SpanKind::Server, "/users/42", "/users/:id"),
        (SpanKind::Server, "/cart/42", "/cart/{id}"),
        (SpanKind::Server, "/else", "/**"),
        (SpanKind::Client, "/users/42", "/users/:id"),
        (SpanKind::Client, "/cart/42", "/*"),
    ] {
        let told = routes.route(Asked { kind, ..asked(&shop, path, 200) }, Some(&own));
        assert_eq!(told.as_deref(), Some(expected), "{kind:?} {path}");
    }
}

#[test]
fn a_pattern_goes_before_what_is_done_with_the_rest() {
    for (unmatched, expected) in [
        ("unset", None),
        ("path", Some("/orders/42")),
        ("wildcard", Some("/**")),
        ("heuristic", Some("/orders/*")),
        ("low-cardinality", Some("/orders/*")),
    ] {
        let json = format!(r#"{{"unmatched": "{unmatched}", "patterns": ["/users/:id"]}}"#);
        let mut routes = routes(&json);
        assert_eq!(route(&mut routes, "/users/42").as_deref(), Some("/users/:id"), "{unmatched}");
        assert_eq!(route(&mut routes, "/orders/42").as_deref(), expected, "{unmatched}");
    }
    assert_eq!(route(&mut routes(r#"{"unmatched": "wildcard"}"#), ""), None, "CONNECT has no path");
    assert_eq!(route(&mut routes("{}"), "/orders/42").as_deref(), Some("/orders/*"), "the default");
}

#[test]
fn ignored_patterns_are_left_out_of_what_the_mode_says() {
    for (mode, traces, metrics) in
        [("", false, false), ("all", false, false), ("traces", false, true), ("metrics", true, false)]
    {
        let mode = if mode.is_empty() { String::new() } else { format!(r#", "ignore_mode": "{mode}""#) };
        let routes = routes(&format!(r#"{{"ignored_patterns": ["/health"]{mode}}}"#));
        assert_eq!(routes.signals("/health"), Signals { traces, metrics }, "{mode}");
        assert_eq!(routes.signals("/healthy"), Signals::ALL);
    }
}

#[test]
fn the_wildcard_may_be_another_character() {
    let mut routes = routes(r##"{"wildcard_char": "#"}"##);
    assert_eq!(route(&mut routes, "/orders/42").as_deref(), Some("/orders/#"));
}

#[test]
fn low_cardinality_without_a_bound_only_guesses() {
    let mut routes = routes(r#"{"unmatched": "low-cardinality", "max_path_segment_cardinality": 0}"#);
    let paths = ["/anna", "/bob", "/carol", "/orders/42"];
    let told: Vec<_> = paths.iter().filter_map(|path| route(&mut routes, path)).collect();
    assert_eq!(told, ["/anna", "/bob", "/carol", "/orders/*"]);
}

#[test]
fn low_cardinality_folds_segments_with_too_many_siblings_per_service() {
    let mut routes = routes(r#"{"unmatched": "low-cardinality", "max_path_segment_cardinality": 3}"#);
    let names = ["/by/anna", "/by/bob", "/by/clara", "/by/dora", "/by/anna"];
    let told: Vec<_> = names.iter().filter_map(|path| route(&mut routes, path)).collect();
    assert_eq!(told, ["/by/anna", "/by/bob", "/by/clara", "/by/*", "/by/*"]);
    let other = routes.route(asked(&service("other"), "/by/anna", 200), None);
    assert_eq!(other.as_deref(), Some("/by/anna"));
}

#[test]
fn a_scan_makes_a_hundred_routes_and_the_rest_is_counted() {
    let mut routes = routes("{}");
    let word = |n: usize| -> String {
        (0..3).map(|at| ["na", "to", "ri", "le", "se", "mo"][n / 6_usize.pow(at) % 6]).collect()
    };
    let told: HashSet<_> = (0..216)
        .filter_map(|n| routes.route(asked(&service("shop"), &format!("/{}", word(n)), 404), None))
        .collect();
    assert_eq!((told.len(), routes.take_folded()), (known::MAX_MISSING + 1, 116));
    assert!(told.contains(EVERYTHING));
    assert_eq!(route(&mut routes, "/login").as_deref(), Some("/login"));
}

#[test]
fn settings_that_are_not_understood_are_refused_by_name() {
    for (json, said) in [
        (r#"{"wildcard_char": ""}"#, "routes.wildcard_char"),
        (r#"{"wildcard_char": "**"}"#, "routes.wildcard_char"),
        (r#"{"wildcard_char": "/"}"#, "routes.wildcard_char"),
        (r#"{"max_path_segment_cardinality": 1001}"#, "0 to 1000"),
        (r#"{"patterns": ["/a", ""]}"#, "routes.patterns[1]"),
        (r#"{"ignored_patterns": [" /a"]}"#, "routes.ignored_patterns[0]"),
    ] {
        let error = Routes::new(&serde_json::from_str(json).expect(json)).expect_err(json).to_string();
        assert!(error.contains(said), "{error}");
    }
    for json in [r#"{"unmatched": "guess"}"#, r#"{"ignore_mode": "none"}"#, r#"{"pattern": []}"#] {
        assert!(serde_json::from_str::<RouteSettings>(json).is_err(), "{json}");
    }
}

proptest! {
    #[test]
    fn a_route_is_its_own_route(path in "(/[ -~]{0,12}){0,12}") {
        let once = heuristic(&path);
        prop_assert_eq!(heuristic(&once), once);
    }

    #[test]
    fn any_path_has_a_short_route(path in ".{0,2000}|(/[^/]{0,100}){0,40}") {
        let told = heuristic(&path);
        prop_assert!(told.len() <= heuristic::MAX_SEGMENTS * 65 + 3, "{}", told);
    }

    #[test]
    fn no_number_gets_into_a_route(a in 0_u64.., b in "[0-9a-f]{16,32}") {
        prop_assume!(b.bytes().any(|byte| byte.is_ascii_digit()));
        prop_assert_eq!(heuristic(&format!("/users/{a}/files/{b}.txt")), "/users/*/files/*");
    }
}
