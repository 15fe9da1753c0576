use super::*;
use proptest::prelude::*;

fn sampler(name: &str, arg: &str) -> Result<Sampler, InvalidSetting> {
    Sampler::new(&SamplerSettings { name: name.to_owned(), arg: arg.to_owned() })
}

/// An id whose lower half is `low`.
fn id(low: u64) -> TraceId {
    TraceId(((1_u128 << 64) | u128::from(low)).to_be_bytes())
}

/// Whether it is sampled: without a parent, below one that was not, below one that was.
fn decisions(name: &str, arg: &str) -> [bool; 3] {
    let sampler = sampler(name, arg).expect("valid");
    [(false, 0), (true, 0), (true, 1)].map(|(has_parent, flags)| sampler.flags(id(7), has_parent, flags) == 1)
}

#[test]
fn each_sampler_decides_by_itself_or_by_its_parent() {
    for (name, arg, expected) in [
        ("", "", [true, false, true]),
        ("always_on", "", [true, true, true]),
        ("always_off", "", [false, false, false]),
        ("traceidratio", "0", [false, false, false]),
        ("traceidratio", "0.5", [true, true, true]),
        ("traceidratio", "", [true, true, true]),
        ("parentbased_always_on", "", [true, false, true]),
        ("parentbased_always_off", "", [false, false, true]),
        ("parentbased_traceidratio", "0", [false, false, true]),
        ("parentbased_traceidratio", "1", [true, false, true]),
    ] {
        assert_eq!(decisions(name, arg), expected, "{name} {arg}");
    }
    assert_eq!(sampler("", ""), Ok(Sampler::default()));
}

#[test]
fn a_ratio_compares_the_bits_that_the_sdks_compare() {
    let quarter = sampler("traceidratio", "0.25").expect("valid");
    let bound = 1_u64 << 62;
    // the last bit is shifted out before 2^63 is parted
    for (low, flags) in [(0, 1), (bound - 1, 1), (bound - 2, 1), (bound, 0), (u64::MAX, 0)] {
        assert_eq!(quarter.flags(id(low), false, 0), flags, "{low:#x}");
    }
}

#[test]
fn other_flags_are_the_callers() {
    let off = sampler("always_off", "").expect("valid");
    assert_eq!(off.flags(id(7), true, 0b11), 0b10);
    assert_eq!(Sampler::default().flags(id(7), true, 0b10), 0b10);
}

#[test]
fn what_is_no_sampler_is_refused_with_what_there_is() {
    let error = sampler("sometimes", "").expect_err("no sampler").to_string();
    assert!(error.contains("sampler.name") && error.contains("parentbased_traceidratio"), "{error}");
    for arg in ["-0.1", "1.1", "NaN", "half", "inf"] {
        let error = sampler("traceidratio", arg).expect_err(arg).to_string();
        assert!(error.contains("sampler.arg") && error.contains(arg), "{error}");
    }
    assert!(sampler("always_on", "half").is_ok(), "it takes no argument");
}

#[test]
fn a_number_may_be_written_as_one() {
    for (json, arg) in
        [(r#"{"arg": 0.1}"#, "0.1"), (r#"{"arg": "0.1"}"#, "0.1"), (r#"{"arg": 1}"#, "1"), ("{}", "")]
    {
        let settings: SamplerSettings = serde_json::from_str(json).expect(json);
        assert_eq!(settings.arg, arg);
    }
    assert!(serde_json::from_str::<SamplerSettings>(r#"{"ratio": 1}"#).is_err());
}

proptest! {
    #[test]
    fn who_is_kept_by_a_ratio_is_kept_by_every_greater_one(low: u64, a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
        let (low_ratio, high_ratio) = (a.min(b).to_string(), a.max(b).to_string());
        let takes = |ratio: &str| sampler("traceidratio", ratio).expect("valid").flags(id(low), false, 0) == 1;
        prop_assert!(!takes(&low_ratio) || takes(&high_ratio));
    }
}

#[test]
fn a_ratio_keeps_its_part_of_traces() {
    let tenth = sampler("traceidratio", "0.1").expect("valid");
    // a step that walks evenly through all ids
    let ids = (0..10_000_u64).map(|n| id(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let kept = ids.filter(|id| tenth.flags(*id, false, 0) == 1).count();
    assert!((950..1_050).contains(&kept), "{kept}");
}
