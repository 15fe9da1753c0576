//! What each command does.

use crate::{
    cli::{Command, ConfigCommand, ExplainArgs, RunArgs, TracePrinterArg},
    config::{self, Config, ConfigError, Environment, LogFormat, Selection, TracePrinter, environment},
    correlate::IdKey,
    decorate::Decorator,
    discover::{Matcher, SelectionError},
    exit::{Exit, RootRefused, refuse_root},
    explain::{self, ClientError, Desk, Door, Questions, Style},
    export::{self, ExportError},
    health::{self, HealthError},
    ingest::{self, IngestError},
    pipeline::{Pipeline, StreamError},
    recording::{Header, Player, Recorder, RecordingError},
    setting::InvalidSetting,
    telemetry::{Telemetry, own::Own},
};
use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::Path,
    time::Instant,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::{
    Layer, Registry, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Why a command ended early. Its text is one line for people.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what happened")]
pub enum RunError {
    #[error(transparent)]
    Root(#[from] RootRefused),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    #[error(transparent)]
    Selection(#[from] SelectionError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Explain(#[from] ClientError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

impl RunError {
    /// The exit code for it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Root(_) | Self::Ingest(IngestError::Permission(_) | IngestError::Refused { .. }) => {
                Exit::Permission
            }
            Self::Explain(ClientError::Permission(_)) => Exit::Permission,
            Self::Explain(_) | Self::Health(_) => Exit::Unavailable,
            Self::Config(error) => error.exit(),
            Self::Selection(_) | Self::Setting(_) => Exit::Usage,
            Self::Export(error) => error.exit(),
            Self::Ingest(_) | Self::Recording(_) | Self::Stream(_) => Exit::Unavailable,
            Self::System(..) => Exit::Software,
        }
    }
}

/// Does what was asked for.
///
/// # Errors
/// [`RunError`].
pub fn run(command: Command) -> Result<(), RunError> {
    match command {
        Command::Run(args) => observe(&args, None),
        Command::Record { file, run } => observe(&run, Some(&file)),
        Command::Replay { file, trace_printer } => replay(&file, trace_printer),
        Command::Explain(args) => explain(&args),
        Command::Config(ConfigCommand::Check { file }) => check(&file),
        Command::Config(ConfigCommand::Show { file }) => show(file.as_deref()),
        Command::Docs { page: crate::cli::Page::Cli } => {
            print!("{}", crate::cli::markdown(&crate::cli::command()));
            Ok(())
        }
    }
}

fn observe(args: &RunArgs, recording: Option<&Path>) -> Result<(), RunError> {
    refuse_root()?;
    let mut config = Config::load_with(args.config.as_deref(), environment())?;
    let telemetry = Telemetry::new();
    let mut own = Own::start(&config, &telemetry)?;
    log(&config, own.log_layer());
    if let Some(socket) = &args.socket {
        config.socket.clone_from(socket);
    }
    let key = draw_key()?;
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let header = Header { key, selection: config.selection.clone(), host };
    let mut recorder = recording.map(|path| Recorder::create(path, &header)).transpose()?;
    let mut pipeline = pipeline(&config, key, &telemetry)?;
    tell_selection(&config);
    let outcome = runtime()?.block_on(async {
        let shutdown = shutdown()?;
        let (desk, mut questions) = explain::desk();
        let _doors = doors(&config, &pipeline, desk).await?;
        serve(&config, &mut pipeline, recorder.as_mut(), &mut questions, shutdown).await
    });
    health::notify_stopping();
    let until = Instant::now() + config.shutdown_timeout;
    pipeline.shut_down();
    own.shut_down(until);
    if let Some(recorder) = recorder {
        recorder.finish()?;
    }
    outcome
}

/// What selects, as far as it fits a line; `ratatosk config show` has the rest.
fn tell_selection(config: &Config) {
    let Selection { open_ports, executables, pids, rules } = &config.selection;
    let ports: Vec<String> = open_ports.iter().map(ToString::to_string).collect();
    info!(
        ports = ports.join(","),
        executables = executables.join(","),
        ?pids,
        entries = rules.instrument.len(),
        socket = %config.socket.display(),
        "Observing"
    );
}

async fn serve(
    config: &Config,
    pipeline: &mut Pipeline,
    recorder: Option<&mut Recorder>,
    questions: &mut Questions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    Ok(ingest::run(&config.socket, pipeline, recorder, questions, shutdown).await?)
}

/// Where others ask how we are. The sockets are removed when what this gives is dropped.
async fn doors(config: &Config, pipeline: &Pipeline, desk: Desk) -> Result<[Option<Door>; 2], RunError> {
    drop(tokio::spawn(health::notify_systemd(pipeline.health())));
    let health = health::listen(&config.health, &pipeline.health()).await?;
    let path = config.explain_socket.clone().unwrap_or_else(|| explain::socket_beside(&config.socket));
    let explain = explain::listen(&path, desk);
    if let Err(error) = &explain {
        // to observe matters more than to explain
        warn!(%error, "`ratatosk explain` will not find this processor");
    }
    Ok([health, explain.ok()])
}

fn explain(args: &ExplainArgs) -> Result<(), RunError> {
    let socket = args.socket.clone().unwrap_or_else(|| explain::socket_path(|name| std::env::var_os(name)));
    let limit = args.limit.unwrap_or(if args.json { usize::MAX } else { explain::DEFAULT_LIMIT });
    let report = explain::ask(&explain::Ask { socket, pid: args.pid, limit })?;
    let text = if args.json {
        serde_json::to_string_pretty(&report).map(|json| json + "\n").map_err(io::Error::from)
    } else if args.pid.is_some() {
        Ok(report.processes.iter().map(|process| explain::sentences(process, &report)).collect())
    } else {
        let colour =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        Ok(explain::table(&report, if colour { Style::Colour } else { Style::Plain }))
    };
    let written = text.and_then(|text| io::stdout().lock().write_all(text.as_bytes()));
    match written {
        // `explain | head` has seen enough
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(RunError::System("writing", error)),
        _ => Ok(()),
    }
}

fn replay(file: &Path, printer: Option<TracePrinterArg>) -> Result<(), RunError> {
    refuse_root()?;
    let mut config = load_config(None)?;
    let mut player = Player::open(file)?;
    config.selection = player.header.selection.clone();
    if let Some(printer) = printer {
        config.trace_printer = printer.into();
    } else if config.trace_printer == TracePrinter::Disabled {
        config.trace_printer = TracePrinter::Text;
    }
    config.prometheus = None;
    config.otlp = Default::default();
    let mut pipeline =
        pipeline(&config, player.header.key, &Telemetry::new())?.on_host(player.header.host.clone());
    let outcome = play(&mut player, &mut pipeline);
    pipeline.finish();
    outcome
}

/// Hands every message of a recording to `pipeline`.
///
/// # Errors
/// [`RunError::Recording`], [`RunError::Stream`]; what came before is told.
pub fn play(player: &mut Player, pipeline: &mut Pipeline) -> Result<(), RunError> {
    while let Some(message) = player.next_message()? {
        pipeline.message(&message)?;
        while pipeline.next_request().is_some() {}
    }
    Ok(())
}

fn load_config(file: Option<&Path>) -> Result<Config, RunError> {
    let config = Config::load_with(file, environment())?;
    log(&config, None::<LevelFilter>);
    Ok(config)
}

/// Logs on stderr and to `other`, first what was odd about the settings.
fn log(config: &Config, other: Option<impl Layer<Registry> + Send + Sync>) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let stderr = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let stderr = match config.log_format {
        LogFormat::Text => stderr.with_ansi(colour).boxed(),
        LogFormat::Json => stderr.json().flatten_event(true).boxed(),
    };
    // a second call, in a test, changes nothing
    drop(Registry::default().with(other).with(stderr).with(config.log_level.filter()).try_init());
    for warning in &config.warnings {
        warn!("{warning}");
    }
}

/// Prints what would be warned about if `file` were run with these variables.
fn check(file: &Path) -> Result<(), RunError> {
    let config = Config::load_with(Some(file), environment())?;
    Matcher::new(config.selection.clone())?;
    Decorator::new(&config.decorate)?;
    for warning in &config.warnings {
        println!("warning: {warning}");
    }
    println!("{}: valid", file.display());
    Ok(())
}

fn show(file: Option<&Path>) -> Result<(), RunError> {
    Config::load_with(file, environment())?;
    print!("{}", config::show(&Environment::new(file, environment())?));
    Ok(())
}

fn pipeline(config: &Config, key: IdKey, telemetry: &Telemetry) -> Result<Pipeline, RunError> {
    let matcher = Matcher::new(config.selection.clone())?;
    let decorator = Decorator::new(&config.decorate)?;
    for attribute in decorator.unsupported_filters() {
        warn!(attribute, "No span has this attribute yet: what filter.application says of it has no effect");
    }
    let pipeline = Pipeline::new(matcher, key, export::all(config, telemetry)?, telemetry.clone());
    let pipeline = pipeline.decorated_by(decorator).excluding(config.exclusion);
    Ok(pipeline.with_selectors(config.selectors.clone()))
}

fn draw_key() -> Result<IdKey, RunError> {
    let mut key = IdKey::default();
    let drawn = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key));
    drawn.map_err(|error| RunError::System("reading /dev/urandom", error))?;
    Ok(key)
}

fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| RunError::System("starting the runtime", error))
}

fn shutdown() -> Result<impl Future<Output = ()>, RunError> {
    let listen = |kind| signal(kind).map_err(|error| RunError::System("taking signals", error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
