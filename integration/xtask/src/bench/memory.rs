//! `bench memory`: what the agent holds in memory while a server is under load.
//!
//! Private memory of every process, each file that any of them maps once, and the maps of the probes once.

use super::{
    load::Stage,
    servers::{Kind, Server},
};
use anyhow::Context;
use ratatosk_integration::{Agent, Options};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

const KIB: u64 = 1024;

/// Options of `bench memory`.
#[derive(Debug, clap::Args)]
pub struct Memory {
    /// Seconds of load before the measurement; it goes on during it
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections that are kept alive
    #[arg(long, default_value_t = 64)]
    connections: u32,
}

/// Resident memory of one process, bytes.
#[derive(Debug, Default)]
struct Held {
    private: u64,
    /// By path.
    files: BTreeMap<String, u64>,
}

/// Measures and prints.
pub fn run(memory: &Memory) -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let server = Server::start(Kind::Nginx, stage.folder())?;
    let options = Options::default()
        .with("OTEL_EBPF_OPEN_PORT", server.port)
        .with("OTEL_EBPF_TRACE_PRINTER", "disabled");
    let agent = Agent::start(&options);
    let load = std::thread::scope(|scope| {
        let load = scope
            .spawn(|| stage.load(server.port, memory.connections, Duration::from_secs(memory.seconds + 2)));
        std::thread::sleep(Duration::from_secs(memory.seconds));
        let report = report(&agent);
        let load = load.join().ok().context("wrk's thread is gone")??;
        report.map(|()| load)
    })?;
    let told = agent.scrape().sum("http_server_request_duration_seconds_count", &[]);
    println!("\nunder {} requests in {} s, {told} of them told", load.requests, memory.seconds + 2);
    agent.stop();
    Ok(())
}

fn report(agent: &Agent) -> anyhow::Result<()> {
    let mut total = 0;
    let mut files = BTreeMap::new();
    println!("| | MiB |\n|---|---|");
    for (pid, name) in processes(agent) {
        let smaps = match fs::read_to_string(format!("/proc/{pid}/smaps")) {
            Ok(smaps) => smaps,
            // a reader lives for milliseconds
            Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => continue,
            Err(error) => return Err(error).with_context(|| format!("reading the memory of {name}")),
        };
        let held = held(&smaps);
        println!("| {name}, private | {} |", mib(held.private));
        total += held.private;
        for (path, bytes) in held.files {
            let most: &mut u64 = files.entry(path).or_default();
            *most = bytes.max(*most);
        }
    }
    for (path, bytes) in &files {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        println!("| file {name}, once | {} |", mib(*bytes));
        total += bytes;
    }
    let maps = maps(agent);
    println!("| maps of the probes, once | {} |", mib(maps));
    println!("| all | {} |", mib(total + maps));
    Ok(())
}

/// Launcher, loader's processes, processor.
fn processes(agent: &Agent) -> Vec<(u32, String)> {
    let all = std::iter::once(agent.pid()).chain(agent.descendants());
    let name = |pid: u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let file = exe.file_name()?.to_string_lossy().into_owned();
        let role = if pid == agent.pid() { "launcher" } else { comm.trim() };
        Some((pid, format!("{file} ({role})")))
    };
    all.filter_map(name).collect()
}

/// Sums what `/proc/PID/smaps` says. Mappings of BPF maps count elsewhere.
fn held(smaps: &str) -> Held {
    let mut held = Held::default();
    let mut path = "";
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let Some(field) = first.strip_suffix(':') else {
            path = line.splitn(6, ' ').nth(5).unwrap_or_default().trim();
            continue;
        };
        let bytes = words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default() * KIB;
        match field {
            "Rss" if path.starts_with('/') => *held.files.entry(path.to_owned()).or_default() += bytes,
            "Anonymous" => {
                held.private += bytes;
                // pages of a file that were written are private, and part of Rss, which comes first
                if let Some(file) = held.files.get_mut(path) {
                    *file = file.saturating_sub(bytes);
                }
            }
            _ => {}
        }
    }
    held
}

/// Bytes of every map that the attacher holds (`memlock` of its fdinfo).
fn maps(agent: &Agent) -> u64 {
    let of = |pid: u32| {
        let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        infos
            .filter_map(|info| map_bytes(&fs::read_to_string(info.path()).ok()?))
            .collect::<BTreeMap<u64, u64>>()
    };
    agent.processes("ratatosk-loader").into_iter().flat_map(of).collect::<BTreeMap<u64, u64>>().values().sum()
}

/// Id and size of the map, if that is what the fd is.
fn map_bytes(fdinfo: &str) -> Option<(u64, u64)> {
    let field = |name: &str| fdinfo.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((field("map_id:")?, field("memlock:")?))
}

fn mib(bytes: u64) -> String {
    format!("{:.2}", super::figures::per(bytes, KIB * KIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c8a00000-55d0c8a21000 r-xp 00001000 08:01 123456                     /usr/bin/ratatosk
Size:                132 kB
Rss:                 100 kB
Anonymous:             4 kB
7f0000000000-7f0000100000 rw-s 00001000 00:0e 1029                       anon_inode:bpf-map
Rss:                1024 kB
Anonymous:             0 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
Rss:                  16 kB
Anonymous:            16 kB
";

    #[test]
    fn files_and_private_memory_are_told_apart() {
        let held = held(SMAPS);
        assert_eq!(held.private, 20 * KIB);
        assert_eq!(held.files, BTreeMap::from([("/usr/bin/ratatosk".to_owned(), 96 * KIB)]));
    }

    #[test]
    fn only_maps_have_a_map_id() {
        assert_eq!(map_bytes("pos:\t0\nmemlock:\t4096\nmap_id:\t7\nfrozen:\t0\n"), Some((7, 4096)));
        assert_eq!(map_bytes("pos:\t0\nprog_id:\t7\nmemlock:\t4096\n"), None);
    }
}
