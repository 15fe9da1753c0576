//! `bench app`: rounds without and with the agent by turns, of the same server under the same load.

use super::{
    cpu,
    figures::{Figure, per},
    load::{Load, Stage},
    probes::Probes,
    servers::{Kind, Server},
};
use anyhow::{Context, ensure};
use ratatosk_integration::{Agent, Options};
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// A guest that counts instructions takes this long for all rounds of a server, at most.
const GUEST_LIMIT: Duration = Duration::from_secs(900);
/// Load that warms up.
const SECOND: Duration = Duration::from_secs(1);
/// As long as it takes an agent to start, so that rounds without one have had such a pause too.
const PAUSE: Duration = Duration::from_secs(2);
/// Until the server's first answers were told.
const OBSERVED_WITHIN: Duration = Duration::from_secs(60);

/// Options of `bench app`.
#[derive(Debug, clap::Args)]
pub struct App {
    /// The server, or `all`
    #[arg(long, default_value = "nginx")]
    server: Which,
    /// Measure instructions: in a guest of this kernel (5.10, 6.1, 6.12, sid) whose clock counts them
    #[arg(long)]
    vm: Option<String>,
    /// Rounds without and rounds with the agent, each
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of load per round
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Connections that are kept alive
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// One more setting of the agent, NAME=VALUE
    #[arg(long)]
    set: Vec<String>,
    /// Count time and runs of every probe too, which costs a little itself (kernel.bpf_stats_enabled)
    #[arg(long)]
    probes: bool,
    /// Times are instructions: this is a guest
    #[arg(long, hide = true)]
    in_guest: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Which {
    Nginx,
    Python,
    Go,
    Node,
    All,
}

impl Which {
    fn kinds(self) -> Vec<Kind> {
        match self {
            Self::Nginx => vec![Kind::Nginx],
            Self::Python => vec![Kind::Python],
            Self::Go => vec![Kind::Go],
            Self::Node => vec![Kind::Node],
            Self::All => vec![Kind::Nginx, Kind::Python, Kind::Go, Kind::Node],
        }
    }
}

/// Measures and prints.
pub fn run(app: &App) -> anyhow::Result<()> {
    let kinds = app.server.kinds();
    if !app.in_guest {
        kinds.iter().try_for_each(|kind| kind.prepare())?;
    }
    match &app.vm {
        Some(kernel) => in_guest(app, kernel),
        None => kinds.into_iter().try_for_each(|kind| measure(app, kind)),
    }
}

/// The same command, within a guest.
fn in_guest(app: &App, kernel: &str) -> anyhow::Result<()> {
    let own = std::env::current_exe()?;
    let limit = GUEST_LIMIT * u32::try_from(app.server.kinds().len())?;
    let mut vm = Command::new(&own);
    vm.args([
        "vm",
        "--icount",
        "--memory",
        "2G",
        "--kernel",
        kernel,
        "--limit",
        &limit.as_secs().to_string(),
        "--",
    ]);
    let server = clap::ValueEnum::to_possible_value(&app.server).context("a server has a name")?;
    vm.arg(own).args(["bench", "app", "--in-guest", "--server", server.get_name()]);
    vm.args(["--rounds", &app.rounds.to_string(), "--seconds", &app.seconds.to_string()]);
    vm.args(["--connections", &app.connections.to_string()]);
    for setting in &app.set {
        vm.args(["--set", setting]);
    }
    if app.probes {
        vm.arg("--probes");
    }
    let status = vm.status()?;
    ensure!(status.success(), "the guest ended with {status}");
    Ok(())
}

/// What one round used.
#[derive(Clone, Copy, Debug)]
struct Round {
    load: Load,
    /// Wall time less idle time: with one CPU all that ran.
    busy_ns: u64,
    /// The server, which is observed.
    application_ns: u64,
    /// wrk, which is not.
    client_ns: u64,
    loader_ns: u64,
    processor_ns: u64,
}

impl Round {
    fn per_request(&self, ns: u64) -> f64 {
        per(ns, self.load.requests)
    }

    fn elsewhere_ns(&self) -> u64 {
        self.busy_ns.saturating_sub(self.application_ns + self.client_ns + self.loader_ns + self.processor_ns)
    }
}

type Get = fn(&Round) -> f64;

fn measure(app: &App, kind: Kind) -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let server = Server::start(kind, stage.folder())?;
    warm_up(app, kind, &stage, &server)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut tier = String::new();
    for _ in 0..app.rounds {
        without.push(round(app, &stage, &server, None)?);
        let agent = agent(app, server.port)?;
        wait_until_observed(app, &stage, &server, &agent)?;
        tier = tier_of(&agent);
        let probes = app.probes.then(Probes::begin).transpose()?;
        with.push(round(app, &stage, &server, Some(&agent))?);
        if let Some(probes) = probes {
            probes.print(&agent, with.last().map_or(1, |round| round.load.requests));
        }
        agent.stop();
    }
    print(app, kind, &tier, &without, &with);
    Ok(())
}

fn warm_up(app: &App, kind: Kind, stage: &Stage, server: &Server) -> anyhow::Result<()> {
    for seconds in kind.warm_up() {
        stage.load(server.port, app.connections, Duration::from_secs(*seconds))?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn agent(app: &App, port: u16) -> anyhow::Result<Agent> {
    let mut options =
        Options::default().with("OTEL_EBPF_OPEN_PORT", port).with("OTEL_EBPF_TRACE_PRINTER", "disabled");
    for setting in &app.set {
        let (name, value) = setting.split_once('=').with_context(|| format!("{setting} is no NAME=VALUE"))?;
        options = options.with(name, value);
    }
    Ok(Agent::start(&options))
}

/// `tier=inet` of the line that says so.
fn tier_of(agent: &Agent) -> String {
    let stderr = agent.stderr().join("\n");
    let found = stderr.split_once("tier=").and_then(|(_, rest)| rest.split_whitespace().next());
    found.unwrap_or("unknown").trim_matches('"').to_owned()
}

fn told(agent: &Agent) -> f64 {
    agent.scrape().sum("http_server_request_duration_seconds_count", &[])
}

fn wait_until_observed(app: &App, stage: &Stage, server: &Server, agent: &Agent) -> anyhow::Result<()> {
    let deadline = Instant::now() + OBSERVED_WITHIN;
    while told(agent) == 0.0 {
        ensure!(Instant::now() < deadline, "the agent tells no request");
        stage.load(server.port, app.connections, SECOND)?;
    }
    Ok(())
}

/// What all processes concerned used so far: server, loader, processor.
fn used(server: &Server, agent: Option<&Agent>) -> [u64; 3] {
    let of = |name| agent.map_or(0, |agent| cpu::of_processes(&agent.processes(name)));
    let launcher = agent.map_or(0, |agent| cpu::of_processes(&[agent.pid()]));
    [cpu::of_processes(&server.pids()), of("ratatosk-loader") + launcher, of("ratatosk")]
}

fn round(app: &App, stage: &Stage, server: &Server, agent: Option<&Agent>) -> anyhow::Result<Round> {
    let told_before = agent.map(told);
    let (before, client, idle, began) =
        (used(server, agent), cpu::of_ended_children()?, cpu::idle_ns()?, Instant::now());
    let load = stage.load(server.port, app.connections, Duration::from_secs(app.seconds))?;
    let (wall, idle) = (cpu::ns(began.elapsed()), cpu::idle_ns()? - idle);
    let (after, client_ns) = (used(server, agent), cpu::of_ended_children()? - client);
    if let (Some(agent), Some(told_before)) = (agent, told_before) {
        check_told(agent, told_before, load.requests);
    }
    let [application_ns, loader_ns, processor_ns] =
        [0, 1, 2].map(|part: usize| after[part].saturating_sub(before[part]));
    let cpus = u64::try_from(std::thread::available_parallelism()?.get())?;
    let busy_ns = (wall * cpus).saturating_sub(idle);
    Ok(Round { load, busy_ns, application_ns, client_ns, loader_ns, processor_ns })
}

/// An agent that tells less would cost less: says so. The last answers of wrk's end may be beyond its count.
fn check_told(agent: &Agent, before: f64, requests: u64) {
    let all = per(requests, 1);
    let is_told = || (told(agent) - before >= all).then_some(());
    let deadline = Instant::now() + Duration::from_secs(3);
    while is_told().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    let share = (told(agent) - before) / all * 100.0;
    if share < 100.0 {
        println!(
            "attention: {share:.1} % of the requests were told; {:?}",
            agent.scrape().non_zero("ratatosk_records_dropped_total")
        );
    }
}

fn print(app: &App, kind: Kind, tier: &str, without: &[Round], with: &[Round]) {
    println!(
        "\n{}, {} connections, {} rounds of {} s, tier {tier}",
        kind.name(),
        app.connections,
        app.rounds,
        app.seconds
    );
    print_ratios(without, with);
    print_added(if app.in_guest { "instructions" } else { "ns of CPU" }, without, with);
}

fn print_ratios(without: &[Round], with: &[Round]) {
    let rows: [(&str, usize, Get); 6] = [
        ("requests per second", 0, |r| per(r.load.requests * 1_000_000, r.load.duration_us)),
        ("latency p50, us", 0, |r| per(r.load.p50_us, 1)),
        ("latency p99, us", 0, |r| per(r.load.p99_us, 1)),
        ("latency p99.9, us", 0, |r| per(r.load.p999_us, 1)),
        ("CPU of the server per request, us", 2, |r| r.per_request(r.application_ns) / 1000.0),
        ("CPU of the client per request, us", 2, |r| r.per_request(r.client_ns) / 1000.0),
    ];
    println!("| | without | with | with / without |\n|---|---|---|---|");
    for (name, digits, get) in rows {
        let [a, b] = [without, with].map(|rounds| Figure::of(rounds.iter().map(get)));
        let ratio = Figure::of(without.iter().zip(with).map(|(a, b)| get(b) / get(a)));
        println!("| {name} | {a:.digits$} | {b:.digits$} | {ratio:.3} |");
    }
}

fn print_added(unit: &str, without: &[Round], with: &[Round]) {
    let rows: [(&str, Get); 7] = [
        ("application's context", |r| r.per_request(r.application_ns)),
        ("client, which is not observed", |r| r.per_request(r.client_ns)),
        ("application and client", |r| r.per_request(r.application_ns + r.client_ns)),
        ("loader", |r| r.per_request(r.loader_ns)),
        ("processor", |r| r.per_request(r.processor_ns)),
        ("kernel elsewhere", |r| r.per_request(r.elsewhere_ns())),
        ("all", |r| r.per_request(r.busy_ns)),
    ];
    println!("\n| added per request, {unit} | median (least to most) |\n|---|---|");
    for (name, get) in rows {
        let base = Figure::of(without.iter().map(get)).median;
        println!("| {name} | {} |", Figure::of(with.iter().map(|round| get(round) - base)));
    }
    let all: Get = |r| r.per_request(r.busy_ns);
    println!("| for comparison: all without the agent | {:.0} |", Figure::of(without.iter().map(all)).median);
}
