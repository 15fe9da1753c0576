use super::{listen::answer, notify::News, *};

fn ready(tier: &str) -> Readiness {
    Readiness::Ready { tier: tier.into() }
}

#[test]
fn it_is_ready_only_between_a_whole_snapshot_and_the_end_of_the_line() {
    let health = Health::default();
    assert!(!health.readiness().is_ready());
    health.connected();
    assert_eq!(health.readiness(), Readiness::NoHello);
    health.announced();
    assert_eq!(health.readiness(), Readiness::NoHello, "a snapshot of nobody");
    health.greeted("socket");
    assert_eq!(health.readiness(), Readiness::NoSnapshot);
    health.announced();
    assert_eq!(health.readiness(), ready("socket"));
    health.not_connected("gone");
    assert_eq!(health.readiness().to_string(), "not connected to the loader: gone");
}

#[test]
fn a_loader_without_tier_or_without_a_word_is_not_ready() {
    let health = Health::default();
    health.connected();
    health.greeted("");
    health.announced();
    assert_eq!(health.readiness(), Readiness::NoTier);
    health.greeted("inet");
    health.announced();
    health.heard_before(SILENT_AFTER);
    assert_eq!(health.readiness(), Readiness::Silent);
    health.heard();
    assert_eq!(health.readiness(), ready("inet"));
}

#[test]
fn readyz_says_in_one_line_what_is_missing_and_healthz_lives() {
    let health = Health::default();
    let asked = |path| {
        let answer = answer(&health, path);
        (answer.status, answer.body)
    };
    assert_eq!(asked("/healthz"), (200, "alive\n".into()));
    assert_eq!(asked("/readyz"), (503, "not connected to the loader: not tried yet\n".into()));
    health.connected();
    health.greeted("socket");
    health.announced();
    assert_eq!(asked("/readyz?verbose"), (200, "ready, tier socket\n".into()));
    assert_eq!(asked("/").0, 404);
}

#[test]
fn systemd_is_told_ready_once_and_every_change() {
    let mut news = News::default();
    let waiting = Readiness::NoHello;
    let mut told = |readiness: &Readiness| {
        let told = news.after(readiness);
        (told.is_ready, told.status.is_some())
    };
    assert_eq!(told(&waiting), (false, true));
    assert_eq!(told(&waiting), (false, false));
    assert_eq!(told(&ready("socket")), (true, true));
    assert_eq!(told(&waiting), (false, true));
    assert_eq!(told(&ready("socket")), (false, true));
}
