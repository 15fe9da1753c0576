//! One process in full sentences, with what a user can do.

use super::{Process, Report, table::clean};

/// A paragraph about `process`, for the terminal.
#[must_use]
pub fn sentences(process: &Process, report: &Report) -> String {
    let who = format!(
        "Process {} ({}) is the service {}. {}",
        process.pid,
        process.exe.as_deref().unwrap_or("executable not readable"),
        process.service,
        listens(process),
    );
    let paragraphs = [who, state(process), exports(process), advice(process, report)];
    paragraphs.iter().filter(|line| !line.is_empty()).map(|line| clean(line) + "\n").collect()
}

fn listens(process: &Process) -> String {
    let ports: Vec<String> = process.ports.iter().map(ToString::to_string).collect();
    match ports.as_slice() {
        [] => "It listens on no TCP port.".to_owned(),
        [port] => format!("It listens on port {port}."),
        _ => format!("It listens on ports {}.", ports.join(", ")),
    }
}

fn state(process: &Process) -> String {
    let Process { detail, calls, exchanges, .. } = process;
    match process.state.as_str() {
        "observed" => format!(
            "It is observed: {detail}. {calls} of its socket calls were seen, and {exchanges} exchanges were put together.{}",
            left_out(process)
        ),
        "no_traffic" => format!("It is selected: {detail}. But none of its TCP calls was seen since."),
        "denied" => format!("It is not observed: {detail}."),
        "undecided" => format!("It is not decided about: {detail}."),
        "unreadable" => format!("It is not observed: {detail}."),
        "not_selected" => format!("It is not selected: {detail}."),
        "own" => format!("It is never observed: {detail}."),
        other => format!("Its state is {other}: {detail}."),
    }
}

/// Why a service is missing where its own telemetry is.
fn exports(process: &Process) -> String {
    let exports = process.exports.join(" and ");
    match process.not_told_again.as_slice() {
        _ if exports.is_empty() => String::new(),
        [] => format!("It was seen to export {exports} itself, and the same is told again by the agent."),
        excluded => format!(
            "It was seen to export {exports} itself, so its {} are not told again. To have both, set \
             BEYLA_EXCLUDE_OTEL_INSTRUMENTED_SERVICES=false{} and restart the processor.",
            excluded.join(" and "),
            if excluded.iter().any(|name| name == "span metrics") {
                " and BEYLA_EXCLUDE_OTEL_INSTRUMENTED_SERVICES_SPAN_METRICS=false"
            } else {
                ""
            },
        ),
    }
}

fn left_out(process: &Process) -> String {
    let counts: Vec<String> = process.left_out.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    if counts.is_empty() {
        String::new()
    } else {
        format!(" Left out, or told in part: {}.", counts.join(", "))
    }
}

fn advice(process: &Process, report: &Report) -> String {
    match (process.state.as_str(), process.reason.as_str()) {
        ("observed", _) if process.exchanges == 0 => format!(
            "No exchange came of it yet: it may speak TLS or another protocol than HTTP/1, which are not read. \
             docs/architecture.md says what each reason for leaving one out means.{}",
            lacks(report)
        ),
        ("observed", _) => "Nothing is to be done.".to_owned(),
        ("no_traffic", _) => {
            let workers = "One that leaves requests to its workers stays silent itself.";
            format!("Send it a request. If it answered one already, it went past the probes. {workers}{}", lacks(report))
        }
        ("denied", _) => {
            "Who administers the machine can allow it in the loader's policy, then restart the loader.".to_owned()
        }
        ("undecided", _) => {
            "That takes less than a second from its start. If it stays so, the loader does not keep up: see its log."
                .to_owned()
        }
        ("unreadable", _) => "It ended meanwhile, or the loader may not read its /proc/PID/exe (it needs \
                              CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH). A port can select it without: BEYLA_OPEN_PORT."
            .to_owned(),
        ("not_selected", reason) => select(process, reason),
        _ => String::new(),
    }
}

fn select(process: &Process, reason: &str) -> String {
    let restart = "and restart the processor";
    match (reason, process.ports.first(), &process.exe) {
        ("excluded", ..) => format!("To observe it, take the entry out of the configuration {restart}."),
        ("entry", Some(port), _) => {
            format!("To observe it, add an entry with open_ports: {port} to discovery.instrument {restart}.")
        }
        ("entry", None, Some(exe)) => {
            format!("To observe it, add an entry with exe_path: {exe} to discovery.instrument {restart}.")
        }
        ("excluded_by_default", _, Some(exe)) => {
            format!(
                "To observe it, let an entry of discovery.instrument name it, as by exe_path: {exe}, {restart}."
            )
        }
        ("port" | "no_selector", Some(port), _) => {
            format!("To observe it, add {port} to BEYLA_OPEN_PORT {restart}.")
        }
        ("executable" | "port" | "no_selector", _, Some(exe)) => {
            let rest = if reason == "port" { ", without BEYLA_OPEN_PORT" } else { "" };
            format!("To observe it, let BEYLA_AUTO_TARGET_EXE match {exe}{rest}, {restart}.")
        }
        _ => format!("To observe it, add {} to BEYLA_TARGET_PID {restart}.", process.pid),
    }
}

fn lacks(report: &Report) -> String {
    let at_work = report.tiers.iter().find(|tier| tier.state == "at_work" && !tier.lacks.is_empty());
    at_work.map_or_else(String::new, |tier| {
        format!(" Tier {}, which is at work, does not see: {}.", tier.name, tier.lacks.join(", "))
    })
}
