//! The command line. Settings come from a file and the environment; arguments say what to do.

use crate::config::{Variable, variables};
use crate::exit::Exit;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "ratatosk",
    version,
    about = "Turns the records of ratatosk-loader into traces and metrics, without any privilege",
    after_help = "`ratatosk --help` tells the environment variables and exit codes.",
    after_long_help = after_long_help(),
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Without a subcommand, `run` is meant.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Arguments of `run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Observe: connect to the loader and export what it sees (the default)
    Run(RunArgs),
    /// Write the loader's stream to a file, unchanged, until interrupted
    Record {
        /// File to write; it must not exist. It will hold captured bytes of the observed processes
        file: PathBuf,
        /// Arguments of `run`.
        #[command(flatten)]
        run: RunArgs,
    },
    /// Read a recorded stream instead of a loader: gives the same spans again, ids included
    Replay {
        /// File to read
        file: PathBuf,
        /// What to print, instead of BEYLA_TRACE_PRINTER
        #[arg(long, value_name = "FORMAT", value_enum)]
        trace_printer: Option<TracePrinterArg>,
    },
    /// Say what is done with every process, and why: asks the running processor
    Explain(ExplainArgs),
    /// Look at a configuration without running it
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print documentation made from the program itself
    #[command(hide = true)]
    Docs {
        /// Which page
        #[arg(value_enum)]
        page: Page,
    },
}

/// Arguments of commands that talk to a loader.
#[derive(Clone, Debug, Default, Eq, PartialEq, clap::Args)]
pub struct RunArgs {
    /// Socket of the loader, instead of RATATOSK_SOCKET
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Configuration file of Beyla or OBI, instead of BEYLA_CONFIG_PATH; `-config` works, too
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What to do with a configuration.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum ConfigCommand {
    /// Say whether a file is right, and what of it has no effect
    Check {
        /// File to read
        file: PathBuf,
    },
    /// Print every setting as it counts, with its origin: default, file and line, or variable
    Show {
        /// File to read, instead of BEYLA_CONFIG_PATH
        file: Option<PathBuf>,
    },
}

/// Arguments of `explain`.
#[derive(Clone, Debug, Default, Eq, PartialEq, clap::Args)]
pub struct ExplainArgs {
    /// Only this process, in sentences, with what can be done
    pub pid: Option<u32>,
    /// The whole answer as JSON
    #[arg(long)]
    pub json: bool,
    /// Show at most so many processes; 50 unless --json
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Socket of the processor, instead of RATATOSK_EXPLAIN_SOCKET
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// A page of generated documentation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Page {
    /// `docs/cli.md`
    Cli,
}

/// The words of [`crate::config::TracePrinter`] on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum TracePrinterArg {
    Disabled,
    Text,
    Json,
    JsonIndent,
    Counter,
}

impl From<TracePrinterArg> for crate::config::TracePrinter {
    fn from(arg: TracePrinterArg) -> Self {
        match arg {
            TracePrinterArg::Disabled => Self::Disabled,
            TracePrinterArg::Text => Self::Text,
            TracePrinterArg::Json => Self::Json,
            TracePrinterArg::JsonIndent => Self::JsonIndent,
            TracePrinterArg::Counter => Self::Counter,
        }
    }
}

impl Cli {
    /// What to do, `run` if nothing else was said.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

/// Reads the command line. Help and version are printed here and end with [`Exit::Done`], mistakes with [`Exit::Usage`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    Cli::try_parse_from(args.into_iter().map(two_dashes)).map(Cli::into_command).map_err(|error| {
        // Nobody left to tell if that fails.
        let _ = error.print();
        if error.use_stderr() { Exit::Usage } else { Exit::Done }
    })
}

/// Beyla's option has one dash, as Go writes them.
fn two_dashes(arg: OsString) -> OsString {
    match arg.to_str() {
        Some(text) if text == "-config" || text.starts_with("-config=") => format!("-{text}").into(),
        _ => arg,
    }
}

/// The definition, for generated documentation.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// A page for people from the definition of a command line: its help, and that of each subcommand.
#[must_use]
pub fn markdown(command: &clap::Command) -> String {
    let mut command = command.clone();
    command.build();
    let mut out = section(&mut command, "##");
    let visible = command.get_subcommands_mut().filter(|sub| !sub.is_hide_set());
    visible.for_each(|sub| out.push_str(&section(sub, "###")));
    out
}

fn section(command: &mut clap::Command, heading: &str) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    format!("{heading} {name}\n\n```text\n{}\n```\n\n", lines.join("\n").trim_end())
}

fn after_long_help() -> String {
    let width = variables().map(|variable| variable.name.len()).max().unwrap_or(0);
    let line = |variable: Variable| format!("  {:width$}  {}\n", variable.name, variable.help);
    let (beyla, own): (Vec<Variable>, Vec<Variable>) = variables().partition(|v| v.has_prefix);
    let beyla: String = beyla.into_iter().map(line).collect();
    let own: String = own.into_iter().map(line).collect();
    format!(
        "Environment variables, with the prefix BEYLA_ or OTEL_EBPF_ (which wins):\n{beyla}\
         Criteria of different kinds must all hold.\n\n\
         A file of Beyla or OBI is read with --config or BEYLA_CONFIG_PATH; variables count before it.\n\n\
         Environment variables without prefix:\n{own}\n\
         Spans are printed on stdout, logs on stderr.\n\n\
         Exit codes:\n  \
         0   ended as asked\n  \
         64  wrong arguments, or a wrong value of a variable or in a file\n  \
         69  something needed is taken or missing: a port, the socket, the file, the process\n  \
         70  a fault of the program itself\n  \
         77  not permitted: it refuses to run as root, or the loader refuses this user"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, Exit> {
        parse(std::iter::once("ratatosk").chain(args.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn run_is_what_is_meant_without_a_subcommand() {
        for args in [&["--socket", "/a"][..], &["run", "--socket", "/a"]] {
            let Ok(Command::Run(run)) = parsed(args) else { panic!("{args:?}") };
            assert_eq!(run.socket, Some(PathBuf::from("/a")));
        }
        assert!(matches!(parsed(&[]), Ok(Command::Run(RunArgs { socket: None, config: None }))));
    }

    #[test]
    fn a_file_is_named_with_one_dash_or_two() {
        for args in [&["-config", "/f"][..], &["-config=/f"], &["--config", "/f"], &["run", "-config", "/f"]]
        {
            let Ok(Command::Run(run)) = parsed(args) else { panic!("{args:?}") };
            assert_eq!(run.config, Some(PathBuf::from("/f")), "{args:?}");
        }
    }

    #[test]
    fn a_configuration_can_be_looked_at() {
        let Ok(Command::Config(ConfigCommand::Check { file })) = parsed(&["config", "check", "f"]) else {
            panic!()
        };
        assert_eq!(file, PathBuf::from("f"));
        let Ok(Command::Config(show)) = parsed(&["config", "show"]) else { panic!() };
        assert_eq!(show, ConfigCommand::Show { file: None });
    }

    #[test]
    fn record_and_replay_take_a_file() {
        let Ok(Command::Record { file, .. }) = parsed(&["record", "f", "--socket", "/a"]) else { panic!() };
        assert_eq!(file, PathBuf::from("f"));
        let Ok(Command::Replay { file, trace_printer }) =
            parsed(&["replay", "f", "--trace-printer", "json_indent"])
        else {
            panic!()
        };
        assert_eq!((file, trace_printer), (PathBuf::from("f"), Some(TracePrinterArg::JsonIndent)));
    }

    #[test]
    fn mistakes_are_64_and_help_is_0() {
        for args in
            [&["replay"][..], &["--nonsense"], &["nonsense"], &["replay", "f", "--trace-printer", "xml"]]
        {
            assert_eq!(parsed(args).unwrap_err(), Exit::Usage, "{args:?}");
        }
        assert_eq!(parsed(&["--help"]).unwrap_err(), Exit::Done);
        assert_eq!(parsed(&["--version"]).unwrap_err(), Exit::Done);
    }

    #[test]
    fn the_page_tells_every_variable_exit_code_and_command() {
        let page = markdown(&command());
        for variable in variables() {
            assert!(page.contains(variable.name), "{} not in\n{page}", variable.name);
        }
        for word in [
            "\n## ratatosk\n",
            "### ratatosk replay",
            "### ratatosk record",
            "### ratatosk explain",
            "  64  ",
            "  69  ",
            "  77  ",
        ] {
            assert!(format!("\n{page}").contains(word), "{word} not in\n{page}");
        }
        assert!(!page.contains("docs"), "{page}");
        assert!(page.lines().all(|line| line.trim_end() == line && !line.contains('\u{1b}')), "{page}");
    }
}
