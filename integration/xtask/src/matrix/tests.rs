use super::*;

const PASSED: &str =
    "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 14 filtered out; finished in 9.93s\n";
const FAILED: &str = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";

fn cell(kernel: &str) -> &'static Cell {
    CELLS.iter().find(|cell| cell.kernel == kernel).expect("a cell")
}

fn died(has_booted: bool) -> Ended {
    Ended::Died { has_booted, console: "Kernel panic".to_owned() }
}

#[test]
fn sums_of_several_binaries_add_up_and_a_skip_is_no_pass() {
    let printed = format!("{PASSED}---- a ----\nskipped: a: no kTLS\n{FAILED}");
    assert_eq!(counts(&printed), Counts { passed: 3, failed: 2, skipped: 2 });
    assert_eq!(counts("nothing"), Counts::default());
}

#[test]
fn a_cell_where_all_is_well_has_no_complaint() {
    let printed = format!("{PASSED}tier inet: 40000 of 40000 calls told\n900 requests/s, tier inet\n");
    assert_eq!(complaints(cell("6.1"), &Ended::Code(0), &printed), Vec::<String>::new());
}

#[test]
fn another_tier_or_none_is_a_complaint() {
    let other = "tier inet: 1 of 1\n1 requests/s, tier socket\n";
    assert_eq!(complaints(cell("6.1"), &Ended::Code(0), other), ["tier socket instead of inet"]);
    assert_eq!(complaints(cell("6.1"), &Ended::Code(0), PASSED), ["no test said which tier is at work"]);
}

#[test]
fn a_kernel_that_is_refused_must_be_refused_in_words_and_by_code() {
    let words = "ratatosk-loader: no: this is Linux 5.10.0, and the probes need 5.11 or newer; see";
    assert!(complaints(cell("5.10"), &Ended::Code(69), words).is_empty());
    assert_eq!(complaints(cell("5.10"), &Ended::Code(0), words), ["exit code 0 instead of 69"]);
    assert_eq!(complaints(cell("5.10"), &Ended::Code(69), "no").len(), 2);
}

#[test]
fn a_failed_test_is_counted_once_and_a_crash_is_a_complaint() {
    let tier = "tier inet: 1 of 1\n";
    assert!(complaints(cell("6.1"), &Ended::Code(101), &format!("{tier}{FAILED}")).is_empty());
    assert_eq!(complaints(cell("6.1"), &Ended::Code(139), tier), ["exit code 139 instead of 0"]);
}

#[test]
fn a_guest_that_died_or_hung_shows_its_console() {
    let hung = Ended::TimedOut { console: "Kernel panic".to_owned() };
    for ended in [died(true), died(false), hung] {
        let [complaint] = complaints(cell("6.1"), &ended, PASSED).try_into().expect("one complaint");
        assert!(complaint.ends_with("Kernel panic"), "{complaint}");
    }
}

#[test]
fn a_guest_that_did_not_come_up_gets_one_more_boot_and_no_other_does() {
    for (has_booted, boots) in [(false, 2), (true, 1)] {
        let mut count = 0;
        let (ended, _) = patiently(|| {
            count += 1;
            Ok((died(has_booted), String::new()))
        })
        .expect("an end");
        assert!(matches!(ended, Ended::Died { .. }));
        assert_eq!(count, boots);
    }
    let failed = patiently(|| Ok((Ended::Code(1), "a failed test".to_owned()))).expect("an end");
    assert!(matches!(failed.0, Ended::Code(1)), "a failed test is no reason to try again");
}

#[test]
fn options_choose_cells_by_kernel_and_tier() {
    let chosen = |kernel: Option<&str>, tier: Option<&str>| {
        let matrix = Matrix { kernel: kernel.map(str::to_owned), tier: tier.map(str::to_owned) };
        CELLS.iter().filter(|cell| is_chosen(&matrix, cell)).count()
    };
    assert_eq!(chosen(None, None), CELLS.len());
    assert_eq!(chosen(Some("6.12"), None), 2);
    assert_eq!(chosen(None, Some("refused")), 1);
    assert_eq!(chosen(Some("6.1"), Some("inet_session")), 0);
}

#[test]
fn a_guest_runs_every_binary_and_keeps_the_code_of_a_failure() {
    let binaries: Binaries = [("carriers".to_owned(), "/a b/carriers-1".into())].into();
    let preempted = CELLS.iter().find(|cell| !cell.append.is_empty()).expect("a cell");
    let words = command(preempted, &binaries).expect("a command");
    assert_eq!(words.last().map(|word| word.as_os_str()), Some("/a b/carriers-1".as_ref()));
    let script = words[2].to_string_lossy().into_owned();
    assert!(script.starts_with("export RATATOSK_TIER=inet; code=0; \"$1\" --test-threads=1"), "{script}");
    assert!(script.ends_with("|| code=$?; shift; exit $code"), "{script}");
    assert!(command(cell("5.10"), &binaries).is_err(), "what was not built is named");
}
