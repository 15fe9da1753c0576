//! The command lines of what the launcher starts.

use super::{
    Args,
    become_user::{Become, Powers},
    demo::{self, Demo},
    environment,
    supervise::Side,
    users::{Account, Accounts},
};
use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The launcher's own image, whatever became of its path since: a rebuild must not change what restarts.
const OWN_IMAGE: &str = "/proc/self/exe";

/// All that is needed to start everything, and to start it again.
#[derive(Debug)]
pub struct Commands {
    /// Loader's binary.
    pub loader: PathBuf,
    /// Processor's binary.
    pub processor: PathBuf,
    /// The processor's configuration file, an absolute path.
    pub config: Option<PathBuf>,
    /// The demo, if nothing was selected.
    pub demo: Option<Demo>,
    /// Who runs them.
    pub accounts: Accounts,
    /// The launcher's own command line.
    pub args: Args,
    /// Where the processor answers `ratatosk explain`.
    pub explain_socket: PathBuf,
}

impl Commands {
    /// In the order in which they are started.
    pub fn sides(&self) -> Vec<Side> {
        let mut sides = vec![
            Side::new("loader", self.loader_command(), true),
            Side::new("processor", self.processor_command(), true),
        ];
        sides.extend(self.demo.as_ref().map(|demo| Side::new("demo", demo_command(demo), false)));
        sides
    }

    fn loader_command(&self) -> Command {
        let Accounts { loader, processor } = self.accounts;
        // The group of the processor, so that the loader may give the socket to it.
        let user = Become { groups: vec![processor.gid.as_raw()], ..user(loader, Powers::Loader) };
        let mut command = command(&user, &self.loader, environment::handed_on());
        command.arg("run").arg("--socket").arg(&self.args.socket);
        command.args(["--processor-uid", &processor.uid.to_string()]);
        command.args(["--processor-gid", &processor.gid.to_string()]);
        for (name, value) in [("--turn-bytes", self.args.turn_bytes), ("--call-bytes", self.args.call_bytes)]
        {
            command.args(value.iter().flat_map(|value| [name.to_owned(), value.to_string()]));
        }
        command
    }

    fn processor_command(&self) -> Command {
        let user = user(self.accounts.processor, Powers::None);
        let mut command = command(&user, &self.processor, environment::handed_on());
        command.env("RATATOSK_SOCKET", &self.args.socket);
        command.env("RATATOSK_EXPLAIN_SOCKET", &self.explain_socket);
        command.args(self.config.iter().flat_map(|file| [OsStr::new("--config"), file.as_os_str()]));
        if self.config.is_none() && !environment::has_printer() {
            command.env("OTEL_EBPF_TRACE_PRINTER", "text");
        }
        if let Some(demo) = &self.demo {
            command.env("OTEL_EBPF_AUTO_TARGET_EXE", &demo.glob);
        }
        command.stdout(Stdio::inherit());
        command
    }
}

fn demo_command(demo: &Demo) -> Command {
    command(&user(demo::account(), Powers::None), &demo.frontend, std::iter::empty())
}

const fn user(account: Account, powers: Powers) -> Become {
    Become { uid: account.uid.as_raw(), gid: account.gid.as_raw(), groups: Vec::new(), powers }
}

/// Only the processor has the launcher's stdout: one line there is one request.
fn command(
    user: &Become,
    program: &Path,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Command {
    let mut command = Command::new(OWN_IMAGE);
    command.args(user.arguments()).arg("--").arg(program);
    command.env_clear().envs(environment);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    // Ctrl-C in a terminal reaches the launcher alone, which then ends both sides in order.
    command.process_group(0);
    command
}
