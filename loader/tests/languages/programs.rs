//! Every program that is examined, and what it is.

use super::build::{c, c_that_loads, cpp, dotnet, go, java, mono, run, rust, stripped, without_sections};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// How one is started.
pub(crate) struct Start {
    pub(crate) command: Command,
    pub(crate) ready: Ready,
}

/// When one is at work.
pub(crate) enum Ready {
    /// It said `ready`.
    Line,
    /// It made this file.
    File(PathBuf),
    /// At once: nothing that it does later matters.
    Started,
}

/// One program.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// `telemetry.sdk.language`.
    pub(crate) is: &'static str,
    pub(crate) start: fn(&Path) -> Result<Start, String>,
}

impl Start {
    pub(crate) fn of(program: PathBuf) -> Self {
        Self { command: Command::new(program), ready: Ready::Line }
    }

    pub(crate) fn named(program: &str) -> Self {
        Self::of(program.into())
    }

    pub(crate) fn with(mut self, words: &[&str]) -> Self {
        self.command.args(words);
        self
    }

    fn when(self, ready: Ready) -> Self {
        Self { ready, ..self }
    }
}

/// A file of a component.
pub(crate) fn found(path: &str) -> Result<PathBuf, String> {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components").join(path);
    fs::canonicalize(&whole).map_err(|_| format!("component {path} is not installed: scripts/setup --test"))
}

const PYTHON: &str = "import sys; print('ready', flush=True); sys.stdin.read(1)";
/// A Python program with two runtimes of others in its address space.
const PYTHON_WITH_OTHERS: &str = "import ctypes, glob, sys
libraries = [glob.glob(p)[0] for p in ('/usr/lib/*/libruby-*.so.*', '/usr/lib/jvm/*/lib/server/libjvm.so')]
kept = [ctypes.CDLL(library) for library in libraries]
print('ready', flush=True)
sys.stdin.read(1)";
const JAVASCRIPT: &str = "console.log('ready'); process.stdin.resume()";
const RUBY: &str = "puts 'ready'; STDOUT.flush; STDIN.read";
const PHP: &str = "echo \"ready\\n\"; fgets(STDIN);";
const ERLANG: &str = "io:format(\"ready~n\"), io:get_line(\"\").";
const PERL: &str = "$| = 1; print \"ready\\n\"; <STDIN>";

const fn program(name: &'static str, is: &'static str, start: fn(&Path) -> Result<Start, String>) -> Program {
    Program { name, is, start }
}

/// Written in C and C++, then compiled ones, then runtimes.
pub(crate) const PROGRAMS: [Program; 42] = [
    program("C, dynamic", "generic", |at| c(at, &["cc"])),
    program("C, static", "generic", |at| c(at, &["cc", "-static"])),
    program("C, static, musl", "generic", |at| c(at, &["musl-gcc", "-static"])),
    program("C that loads a library in C++", "generic", |at| c_that_loads(at, "libstdc++.so.6")),
    program("shell (dash)", "generic", |_| Ok(Start::named("sh").with(&["-c", "echo ready; read line"]))),
    program("BusyBox, static", "generic", |_| {
        Ok(Start::named("busybox").with(&["sh", "-c", "echo ready; read line"]))
    }),
    program("Perl", "generic", |_| Ok(Start::named("perl").with(&["-e", PERL]))),
    program("nginx", "generic", nginx),
    program("Apache", "generic", |at| apache(at, "")),
    program("C++, dynamic", "cpp", |at| cpp(at, &[])),
    program("C++, stripped", "cpp", |at| cpp(at, &["-s"])),
    program("C++, its library linked in", "cpp", |at| cpp(at, &["-static-libstdc++", "-static-libgcc"])),
    program("C++, static", "cpp", |at| cpp(at, &["-static"])),
    program("C++, static and stripped", "cpp", |at| cpp(at, &["-static", "-s"])),
    program("Go, static", "go", |at| go(at, &[]).map(Start::of)),
    program("Go, -ldflags '-s -w'", "go", |at| go(at, &["-ldflags", "-s -w"]).map(Start::of)),
    program("Go, -buildmode=pie", "go", |at| go(at, &["-buildmode=pie"]).map(Start::of)),
    program("Go, stripped", "go", |at| stripped(go(at, &[]))),
    program("Go, without sections", "go", |at| without_sections(go(at, &[]))),
    program("Rust", "rust", |at| rust(at, &[]).map(Start::of)),
    program("Rust, strip = true", "rust", |at| rust(at, &["-O", "-Cstrip=symbols"]).map(Start::of)),
    program("Rust, stripped, panic = abort", "rust", |at| {
        stripped(rust(at, &["-O", "-Cpanic=abort", "-Clto", "-Ccodegen-units=1"]))
    }),
    program("Rust, static", "rust", |at| rust(at, &["-O", "-Ctarget-feature=+crt-static"]).map(Start::of)),
    program("Python of Debian", "python", |_| Ok(Start::named("/usr/bin/python3").with(&["-c", PYTHON]))),
    program("Python in a venv", "python", |_| {
        Ok(Start::of(found("python/bin/python")?).with(&["-c", PYTHON]))
    }),
    program("Python of PATH", "python", |_| Ok(Start::named("python3").with(&["-c", PYTHON]))),
    program("PyPy", "python", |_| Ok(Start::named("pypy3").with(&["-c", PYTHON]))),
    program("Python that loads Ruby and a JVM", "python", |_| {
        Ok(Start::named("/usr/bin/python3").with(&["-c", PYTHON_WITH_OTHERS]))
    }),
    program("Ruby", "ruby", |_| Ok(Start::named("ruby").with(&["-e", RUBY]))),
    program("PHP", "php", |_| Ok(Start::named("php").with(&["-r", PHP]))),
    program("PHP-FPM", "php", php_fpm),
    program("Apache with mod_php", "php", |at| apache(at, "php")),
    program("Node.js", "nodejs", |_| Ok(Start::named("node").with(&["-e", JAVASCRIPT]))),
    program("Deno", "deno", deno),
    program("Bun", "bun", |_| {
        Ok(Start::of(found("node/node_modules/bun/bin/bun.exe")?).with(&["-e", JAVASCRIPT]))
    }),
    program("Bun, compiled", "bun", bun_compiled),
    program("Bun 1.1", "bun", |_| {
        Ok(Start::of(found("native/node_modules/@oven/bun-linux-x64/bin/bun")?).with(&["-e", JAVASCRIPT]))
    }),
    program("Java", "java", java),
    program("Java, native image (GraalVM)", "java", native_image),
    program("Erlang (BEAM)", "erlang", |_| Ok(Start::named("erl").with(&["-noshell", "-eval", ERLANG]))),
    program(".NET", "dotnet", dotnet),
    program("Mono", "dotnet", mono),
];

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Its workers come after its pid file; only the master is examined.
fn nginx(at: &Path) -> Result<Start, String> {
    let (place, config) = (at.display(), at.join("nginx.conf"));
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name};\n"))
        .concat();
    let text = format!(
        "daemon off;\npid {place}/pid;\nerror_log {place}/error.log;\nevents {{}}\n\
         http {{\naccess_log off;\n{paths}server {{ listen unix:{place}/socket; }}\n}}\n"
    );
    write(&config, &text)?;
    let start =
        Start::of(found("nginx")?).with(&["-p", &at.to_string_lossy(), "-c", &config.to_string_lossy()]);
    Ok(start.when(Ready::File(at.join("pid"))))
}

/// With a module of PHP in its own process, or without.
fn apache(at: &Path, module: &str) -> Result<Start, String> {
    const MODULES: &str = "/usr/lib/apache2/modules";
    let php = match module {
        "" => String::new(),
        _ => format!("LoadModule php_module {}\n", only_file(MODULES, "libphp")?.display()),
    };
    let text = format!(
        "ServerRoot {0}\nPidFile {0}/pid\nErrorLog {0}/error.log\nDefaultRuntimeDir {0}\nServerName localhost\n\
         LoadModule mpm_prefork_module {MODULES}/mod_mpm_prefork.so\n\
         LoadModule authz_core_module {MODULES}/mod_authz_core.so\n{php}Listen 127.0.0.1:{1}\n",
        at.display(),
        free_port()?
    );
    let config = at.join("apache.conf");
    write(&config, &text)?;
    let start = Start::of(found("apache")?).with(&["-DFOREGROUND", "-f", &config.to_string_lossy()]);
    Ok(start.when(Ready::File(at.join("pid"))))
}

fn only_file(directory: &str, prefix: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{directory}: {error}"))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let fits =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    paths.find(fits).ok_or_else(|| format!("no {prefix}* in {directory}: scripts/setup --test"))
}

fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn php_fpm(at: &Path) -> Result<Start, String> {
    let (place, config) = (at.display(), at.join("php.conf"));
    let text = format!(
        "[global]\ndaemonize = no\nerror_log = {place}/error.log\npid = {place}/pid\n\
         [www]\nuser = nobody\nlisten = {place}/socket\npm = static\npm.max_children = 1\n"
    );
    write(&config, &text)?;
    let start = Start::of(found("php")?).with(&["--nodaemonize", "--fpm-config", &config.to_string_lossy()]);
    Ok(start.when(Ready::File(at.join("pid"))))
}

fn deno(at: &Path) -> Result<Start, String> {
    let machine = if cfg!(target_arch = "aarch64") { "linux-arm64-glibc" } else { "linux-x64-glibc" };
    let program = found(&format!("node/node_modules/@deno/{machine}/deno"))?;
    let mut start =
        Start::of(program).with(&["eval", "console.log('ready'); await Deno.stdin.read(new Uint8Array(1))"]);
    start.command.env("DENO_DIR", at).env("DENO_NO_UPDATE_CHECK", "1");
    Ok(start)
}

/// One executable of the runtime and the program.
fn bun_compiled(at: &Path) -> Result<Start, String> {
    let (source, program) = (at.join("program.js"), at.join("shop"));
    write(&source, JAVASCRIPT)?;
    let mut command = Command::new(found("node/node_modules/bun/bin/bun.exe")?);
    command.args(["build", "--compile", "--outfile"]).args([&program, &source]).current_dir(at);
    run(&mut command).map(|()| Start::of(program))
}

/// The Closure Compiler, which reads its stdin.
fn native_image(_: &Path) -> Result<Start, String> {
    let program = found("native/node_modules/google-closure-compiler-linux/compiler")?;
    Ok(Start::of(program).when(Ready::Started))
}
