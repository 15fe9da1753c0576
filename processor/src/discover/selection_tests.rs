use super::*;
use crate::config::{Criteria, Naming, Pattern, PortRange as Ports, Rules};

fn exe(glob: &str) -> Criteria {
    Criteria { exe: Some(Pattern::Glob(glob.to_owned())), ..Criteria::default() }
}

fn port(port: u16) -> Criteria {
    Criteria { open_ports: vec![Ports { first: port, last: port }], ..Criteria::default() }
}

fn named(name: &str, criteria: Criteria) -> Criteria {
    Criteria { naming: Naming { name: Some(name.to_owned()), namespace: None }, ..criteria }
}

fn matcher(rules: Rules) -> Matcher {
    Matcher::new(Selection { rules, ..Selection::default() }).expect("valid patterns")
}

fn facts<'a>(exe: &'a str, ports: &'a [u16]) -> Facts<'a> {
    Facts { tgid: 7, owns_pid: true, exe: Some(exe), ports, ..Facts::default() }
}

#[test]
fn entries_are_alternatives_and_the_last_that_matches_and_has_a_name_names_the_process() {
    let both = Criteria { exe: exe("*/shop").exe, ..port(80) };
    let instrument = vec![named("a", both), named("b", port(80)), exe("*/till"), exe("*/shop")];
    let naming = Naming { name: None, namespace: Some("all".to_owned()) };
    let matcher = matcher(Rules { instrument, naming, ..Rules::default() });
    for (facts, name) in [
        (facts("/bin/shop", &[80]), Some(Some("b"))),
        (facts("/bin/other", &[80]), Some(Some("b"))),
        (facts("/bin/till", &[]), Some(None)),
        (facts("/bin/shop", &[81]), Some(None)),
        (facts("/bin/other", &[81]), None),
    ] {
        assert_eq!(matcher.selects(&facts), name.is_some(), "{facts:?}");
        let naming = matcher.treatment(&facts).naming;
        assert_eq!(naming.name.as_deref(), name.flatten(), "{facts:?}");
        assert_eq!(naming.namespace.as_deref(), Some("all"), "{facts:?}");
    }
}

#[test]
fn what_is_set_beside_the_entries_is_the_last_of_them() {
    let naming = Naming { name: Some("all".to_owned()), namespace: None };
    let rules = Rules { instrument: vec![named("a", exe("*/shop"))], naming, ..Rules::default() };
    let open_ports = vec![Ports { first: 80, last: 80 }];
    let matcher = Matcher::new(Selection { open_ports, rules, ..Selection::default() }).expect("valid");
    for (ports, name) in [([80], "all"), ([81], "a")] {
        let treatment = matcher.treatment(&facts("/bin/shop", &ports));
        assert_eq!(treatment.naming.name.as_deref(), Some(name));
    }
}

#[test]
fn an_exclusion_wins_over_every_entry() {
    let rules = Rules { instrument: vec![port(80)], exclude: vec![exe("*/secret")], ..Rules::default() };
    let selection = Selection { pids: vec![7], rules, ..Selection::default() };
    let matcher = Matcher::new(selection).expect("valid patterns");
    assert!(!matcher.selects(&facts("/bin/secret", &[80])));
    assert!(matcher.selects(&facts("/bin/shop", &[])));
}

#[test]
fn a_default_exclusion_yields_to_who_names_the_process() {
    let default_exclude = vec![exe("/usr/sbin/*")];
    for (entry, is_observed) in
        [(exe("*"), false), (exe("/usr/*"), true), (exe("*/nginx"), true), (port(80), true)]
    {
        let rules = Rules {
            instrument: vec![entry.clone()],
            default_exclude: default_exclude.clone(),
            ..Rules::default()
        };
        assert_eq!(matcher(rules).selects(&facts("/usr/sbin/nginx", &[80])), is_observed, "{entry:?}");
    }
    let rules = Rules { default_exclude, ..Rules::default() };
    for (glob, is_observed) in [("*", false), ("*/nginx", true)] {
        let selection =
            Selection { executables: vec![glob.to_owned()], rules: rules.clone(), ..Selection::default() };
        let matcher = Matcher::new(selection).expect("valid patterns");
        assert_eq!(matcher.selects(&facts("/usr/sbin/nginx", &[])), is_observed, "{glob}");
    }
}

#[test]
fn what_is_not_known_does_not_match() {
    let language = Some(Pattern::Glob("go".to_owned()));
    let cmd_args = Some(Pattern::Regex("serve.*8080".to_owned()));
    for (criteria, known) in [
        (Criteria { language, ..Criteria::default() }, Facts { language: Some("go"), ..facts("/a", &[]) }),
        (
            Criteria { cmd_args, ..Criteria::default() },
            Facts { cmdline: Some("a serve -p 8080"), ..facts("/a", &[]) },
        ),
        (
            Criteria { containers_only: true, ..Criteria::default() },
            Facts { is_in_container: true, ..facts("/a", &[]) },
        ),
        (Criteria { pids: vec![7], ..Criteria::default() }, facts("/a", &[])),
    ] {
        let matcher = matcher(Rules { instrument: vec![criteria.clone()], ..Rules::default() });
        assert!(matcher.selects(&known), "{criteria:?}");
        assert!(!matcher.selects(&Facts { owns_pid: false, ..facts("/a", &[]) }), "{criteria:?}");
    }
    let unknowable = Criteria { is_unknowable: true, ..port(80) };
    assert!(
        !matcher(Rules { instrument: vec![unknowable], ..Rules::default() }).selects(&facts("/a", &[80]))
    );
}

#[test]
fn a_port_passes_in_the_kernel_only_where_nothing_else_is_asked() {
    let mixed = Criteria { exe: exe("*/shop").exe, ..port(80) };
    for (instrument, exclude, mark_only) in [
        (vec![port(80), exe("*/a")], vec![], false),
        (vec![port(80)], vec![exe("*/a")], true),
        (vec![mixed], vec![], true),
    ] {
        let want =
            matcher(Rules { instrument: instrument.clone(), exclude, ..Rules::default() }).want_ports();
        assert_eq!(want.mark_only, mark_only, "{instrument:?}");
        assert_eq!(want.ranges, [PortRange { first: 80, last: 80 }]);
    }
}
