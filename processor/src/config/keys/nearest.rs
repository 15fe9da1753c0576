//! What somebody may have meant.

/// Below it two names have nothing to do with each other.
const MIN_SIMILARITY: f64 = 0.6;

/// The candidate that is most like `name`, if any is like it.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored =
        candidates.map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score >= MIN_SIMILARITY).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_key_and_nonsense_none() {
        let keys = ["open_port", "routes", "filter"];
        assert_eq!(nearest("open_ports", keys.into_iter()), Some("open_port"));
        assert_eq!(nearest("ruotes", keys.into_iter()), Some("routes"));
        assert_eq!(nearest("xyzzy", keys.into_iter()), None);
    }
}
