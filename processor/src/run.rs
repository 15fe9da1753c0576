//! What each command does.

use crate::{
    cli::{Command, RunArgs, TracePrinterArg},
    config::{Config, ConfigError, TracePrinter, environment},
    correlate::IdKey,
    discover::{Matcher, SelectionError},
    exit::{Exit, RootRefused, refuse_root},
    export::{self, ExportError},
    ingest::{self, IngestError},
    pipeline::{Pipeline, StreamError},
    recording::{Header, Player, Recorder, RecordingError},
    telemetry::Telemetry,
};
use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Why a command ended early. Its text is one line for people.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what happened")]
pub enum RunError {
    #[error(transparent)]
    Root(#[from] RootRefused),
    #[error(transparent)]
    Config(#[from] ConfigError),
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
            Self::Config(error) => error.exit(),
            Self::Selection(_) => Exit::Usage,
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
        Command::Docs { page: crate::cli::Page::Cli } => {
            print!("{}", crate::cli::markdown(&crate::cli::command()));
            Ok(())
        }
    }
}

fn observe(args: &RunArgs, recording: Option<&Path>) -> Result<(), RunError> {
    refuse_root()?;
    let mut config = load_config()?;
    if let Some(socket) = &args.socket {
        config.socket.clone_from(socket);
    }
    let key = draw_key()?;
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let header = Header { key, selection: config.selection.clone(), host };
    let mut recorder = recording.map(|path| Recorder::create(path, &header)).transpose()?;
    let telemetry = Telemetry::new();
    let mut pipeline = pipeline(&config, key, &telemetry)?;
    info!(selection = ?config.selection, socket = %config.socket.display(), "Observing");
    let outcome = runtime()?.block_on(async {
        let shutdown = shutdown()?;
        ingest::run(&config.socket, &mut pipeline, recorder.as_mut(), shutdown).await.map_err(RunError::from)
    });
    pipeline.shut_down();
    if let Some(recorder) = recorder {
        recorder.finish()?;
    }
    outcome
}

fn replay(file: &Path, printer: Option<TracePrinterArg>) -> Result<(), RunError> {
    refuse_root()?;
    let mut config = load_config()?;
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

fn load_config() -> Result<Config, RunError> {
    let config = Config::load(environment())?;
    log_to_stderr(&config);
    for warning in &config.warnings {
        warn!("{warning}");
    }
    Ok(config)
}

fn pipeline(config: &Config, key: IdKey, telemetry: &Telemetry) -> Result<Pipeline, RunError> {
    let matcher = Matcher::new(config.selection.clone())?;
    Ok(Pipeline::new(matcher, key, export::all(config, telemetry)?, telemetry.clone()))
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

fn log_to_stderr(config: &Config) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_max_level(config.log_level.filter());
    // a second call, in a test, changes nothing
    drop(log.with_ansi(colour).with_writer(io::stderr).try_init());
}
