//! Is a segment of a path a word of the application, or does it name one of its objects?
//!
//! Words stay, ids become a wildcard. A word lost merges routes that differ; an id kept makes a series of its own: so what
//! holds a digit, or what no URL of a program is written with, is an id unless it is known better, and letters alone are a
//! word unless they can hardly be one.

/// Longest segment that may be a word: `supercalifragilisticexpialidocious` has 34 letters, and some names have several words.
const MAX_WORD_BYTES: usize = 64;

/// Letters from which on pairs of letters say something: shorter ones are acronyms as often as not (`xmlns`, `nginx`).
const MIN_JUDGED_LETTERS: usize = 8;

/// Letters from which on a word has a vowel.
const MIN_VOWEL_LETTERS: usize = 6;

/// Letters from which on a run of `a` to `f` is a hexadecimal number: `facade` and `decade` have six.
const MIN_HEX_LETTERS: usize = 8;

/// Words that hold digits. Sorted; lower case.
#[rustfmt::skip]
const KNOWN: [&str; 72] = [
    "2d", "2fa", "3d", "3ds", "a11y", "amd64", "arm64", "auth0", "b2b", "b2c", "base32", "base58",
    "base64", "c2c", "css3", "d3", "e164", "e2e", "ec2", "es6", "geoip2", "h2", "h264", "h265", "html5",
    "http2", "http3", "i18n", "i386", "ipv4", "ipv6", "iso8601", "java8", "k3s", "k8s", "l10n", "log4j",
    "log4j2", "md5", "mp3", "mp4", "mqtt5", "neo4j", "o365", "oauth1", "oauth2", "office365", "openapi3",
    "p2p", "phase1", "phase2", "pkcs12", "pkcs8", "python3", "r2", "route53", "s3", "saml2", "sha1",
    "sha256", "sha512", "step1", "step2", "step3", "swagger2", "utf16", "utf8", "web3", "win32", "win64",
    "x509", "x86",
];

/// How surprising a letter (column) is after another (row), 0 to 9, in bits: of the 17 000 words that stand in at least twelve
/// files of the Rust and Python sources and manuals that came with a Debian machine. The 27th is the end of a word.
const SURPRISE: [&[u8; 27]; 27] = [
    b"944497595963439593436677695",
    b"366637993782674694464899594",
    b"385738634944772695535799794",
    b"477527783895775795575779792",
    b"574366697985537673348675793",
    b"476544792994673694455999693",
    b"588827654985655794575899892",
    b"288628993986663795655979693",
    b"564455599984423595449597956",
    b"267927794979772677463999794",
    b"567526773996755696456979792",
    b"387527893963773697555799493",
    b"357728893977574398465999894",
    b"484445384966864797436799793",
    b"664576686974425493454558895",
    b"376737754984783493545889793",
    b"768557686995869696571879993",
    b"386527693966564695446789693",
    b"595838753976775597435979682",
    b"486737853996774694455887593",
    b"545645695994437493339998996",
    b"376716883996664697668999994",
    b"276637843995634694467998994",
    b"474635764996675376637778793",
    b"676768795996547396459879981",
    b"498817783996784998786999653",
    b"454444554775455484345668989",
];

/// Whether `segment` is a word of the application.
pub(super) fn is_word(segment: &str) -> bool {
    segment.len() <= MAX_WORD_BYTES
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~'))
        && (is_version(segment) || parts(segment).all(is_word_part))
}

/// What separators part; empty parts (`.well-known`, `__init__`) say nothing.
fn parts(segment: &str) -> impl Iterator<Item = &str> {
    segment.split(['-', '_', '.', '~']).filter(|part| !part.is_empty())
}

/// `v1`, `V2.1`, `v1beta1`, `v2alpha`: not `v20240101`, which is a date.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix(['v', 'V']) else { return false };
    let rest = rest.split_once("alpha").or_else(|| rest.split_once("beta")).map_or((rest, ""), |split| split);
    let is_short = |digits: &str| digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    !rest.0.is_empty() && rest.0.split('.').all(is_short) && is_short(rest.1)
}

fn is_word_part(part: &str) -> bool {
    match part.bytes().filter(u8::is_ascii_digit).count() {
        0 => {}
        // the common id costs nothing more
        digits if digits == part.len() => return false,
        _ => return is_known(part) || is_version(part),
    }
    let is_upper = part.bytes().all(|byte| byte.is_ascii_uppercase());
    let hex = part.len() >= MIN_HEX_LETTERS && part.bytes().all(|byte| matches!(byte | 0x20, b'a'..=b'f'));
    !hex && (is_upper || is_steady(part)) && has_vowel(part) && is_likely(part)
}

fn is_known(part: &str) -> bool {
    let part = || part.bytes().map(|byte| byte.to_ascii_lowercase());
    KNOWN.binary_search_by(|known| known.bytes().cmp(part())).is_ok()
}

/// `getUserById` has words of several letters, `aXbQzR` has none: between a small letter and a capital lie three on average.
fn is_steady(part: &str) -> bool {
    let changes = part.as_bytes().windows(2).filter(
        |pair| matches!(pair, [before, after] if before.is_ascii_lowercase() && after.is_ascii_uppercase()),
    );
    let humps = changes.count() + 1;
    part.len() < MIN_VOWEL_LETTERS || humps * 3 <= part.len() + 2
}

fn has_vowel(part: &str) -> bool {
    part.len() < MIN_VOWEL_LETTERS
        || part.bytes().any(|byte| matches!(byte | 0x20, b'a' | b'e' | b'i' | b'o' | b'u' | b'y'))
        || part.eq_ignore_ascii_case("xmlrpc")
}

/// The pairs of letters are those of words, on average. Names of several words have unlikely pairs where these meet.
fn is_likely(part: &str) -> bool {
    if part.len() < MIN_JUDGED_LETTERS {
        return true;
    }
    let (mut sum, mut before) = (0, 26);
    for letter in part.bytes().map(letter).chain([26]) {
        sum += surprise(before, letter);
        before = letter;
    }
    let pairs = part.len() + 1;
    // Tried on words that the table was not made of: none of 1 300 is lost, and 1 in 100 of two words in one. Of 16 random
    // letters 5 in 100 pass, of 10 letters 13: better an id kept, which `known` bounds, than a word lost.
    let most_quarters = if pairs <= 10 { 22 } else { 21 };
    sum * 4 <= pairs * most_quarters
}

/// 0 to 25.
fn letter(byte: u8) -> usize {
    usize::from((byte | 0x20).wrapping_sub(b'a').min(25))
}

fn surprise(before: usize, letter: usize) -> usize {
    let digit = SURPRISE.get(before).and_then(|row| row.get(letter));
    digit.map_or(9, |digit| usize::from(digit.wrapping_sub(b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_known_words_are_sorted() {
        assert!(KNOWN.is_sorted());
        assert!(KNOWN.iter().all(|word| is_word(word)));
    }

    #[test]
    fn versions_are_words() {
        for word in ["v1", "V2", "v10", "v1.2", "v1beta1", "v2alpha", "v1alpha10"] {
            assert!(is_word(word), "{word}");
        }
        for id in ["v", "v20240101", "v1x", "v1beta123"] {
            assert!(!is_version(id), "{id}");
        }
    }

    #[test]
    fn most_random_letters_are_no_word() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).expect("31 bits")
        };
        for (alphabet, len, most_kept) in [
            ("abcdefghijklmnopqrstuvwxyz", 10, 200),
            ("abcdefghijklmnopqrstuvwxyz", 16, 90),
            ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 12, 90),
            ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 11, 40),
            ("abcdef0123456789", 8, 3),
        ] {
            let letters = alphabet.as_bytes();
            let kept = (0..1_000)
                .filter(|_| {
                    let word: String =
                        (0..len).map(|_| char::from(letters[random() % letters.len()])).collect();
                    is_word(&word)
                })
                .count();
            assert!(kept <= most_kept, "{kept} of 1000 in {alphabet}");
        }
    }

    proptest! {
        #[test]
        fn numbers_and_what_is_encoded_are_never_words(
            id in "[0-9]{1,40}|[a-z]{0,9}%[0-9A-F]{2}[a-z]{0,9}|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        ) {
            prop_assert!(!is_word(&id));
        }

        #[test]
        fn any_text_is_judged(text in ".{0,80}") {
            let _ = is_word(&text);
        }
    }
}
