//! `cargo xtask bench`: what the agent costs. Results and how to read them: docs/performance.md.

mod app;
mod cpu;
mod figures;
mod load;
mod memory;
mod probes;
mod servers;
mod stream;

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A server with and without the agent: throughput, latency, CPU per request (as root)
    App(app::App),
    /// The way of records from the loader's server through gRPC to spans, on one core
    Stream(stream::Stream),
    /// What the agent holds in memory under load (as root)
    Memory(memory::Memory),
}

/// Measures and prints.
///
/// # Errors
/// What could not be started or read.
pub fn run(bench: &Bench) -> anyhow::Result<()> {
    match &bench.what {
        What::App(app) => app::run(app),
        What::Stream(stream) => stream::run(stream),
        What::Memory(memory) => memory::run(memory),
    }
}
