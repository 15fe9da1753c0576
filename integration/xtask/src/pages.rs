//! The generated pages.

use clap::{Command, CommandFactory};
use ratatosk::{
    cli::markdown,
    decorate::Counts,
    model::{EndedBy, Incomplete},
    telemetry::Telemetry,
};
use ratatosk_proto::v1::{Dropped, Produced, Status};
use std::fmt::Write;

/// A page made from the programs themselves.
#[derive(Debug)]
pub struct Page {
    /// Below the repository's root.
    pub path: &'static str,
    /// What it should say.
    pub text: String,
}

/// Every page.
pub fn pages() -> Vec<Page> {
    vec![
        Page { path: "docs/cli.md", text: cli() },
        Page { path: "docs/configuration.md", text: configuration() },
        Page { path: "docs/metrics.md", text: metrics(&exposition()) },
        Page { path: "docs/kernel-support.md", text: crate::matrix::page(MADE) },
    ]
}

const MADE: &str = "<!-- Made by `cargo xtask gen`: change the code, not this page. -->\n";

fn cli() -> String {
    let loader = markdown(&without_values(ratatosk_loader::cli::Cli::command()));
    let processor = markdown(&without_values(ratatosk::cli::command()));
    let intro =
        "What `--help` says. `ratatosk-loader` is the side with privileges, `ratatosk` the one without.";
    let page = format!("# Command line\n\n{MADE}\n{intro}\n\n{loader}{processor}");
    format!("{}\n", page.trim_end())
}

/// The page is the same whatever is set where it is made.
fn without_values(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_values)
}

const CONFIGURATION_INTRO: &str = "\
Ratatosk reads the configuration files and variables of Grafana Beyla and of OpenTelemetry eBPF Instrumentation (OBI):

```sh
ratatosk run --config beyla.yml       # or BEYLA_CONFIG_PATH=beyla.yml
ratatosk config check beyla.yml       # is it right, and what of it has no effect yet?
ratatosk config show beyla.yml        # every setting as it counts, and who said so
ratatosk-loader standalone --config beyla.yml
```

`ratatosk-loader standalone` hands its `BEYLA_*`, `OTEL_*` and `RATATOSK_*` variables and `--config` on to the processor,
whose user must be able to read the file.

- Defaults < file < variables. Every `BEYLA_X` is read as `OTEL_EBPF_X`, too; where both are set, `OTEL_EBPF_X` counts.
- `${NAME}` and `${NAME:-default}` in a value of the file stand for a variable of the processor's environment.
- A key or variable that is not done yet (`not yet` below) is named in one warning each, and the agent starts without it.
- An unknown key, or a value of the wrong type, ends it with exit code 64 and a line that tells file, line, key, and what
  was probably meant.
- The entries of `discovery.instrument` are alternatives; the criteria of one entry must all hold, and the settings
  `open_port`, `auto_target_exe`, `executable_path` and `target_pids` are one entry more. `exclude_instrument` wins over
  them. The default exclusions leave out what an entry does not name by a port, a pid, a path or a command line.
- Beside its criteria an entry of `discovery.instrument` says how its services are told: `name`, `namespace`, `exports`,
  `sampler`, `routes` and `metrics.features`. Where several entries select a process, the last one that has a setting
  counts, so the general entries stand first. Two rules more, both as in Beyla: `metrics.features` are those of the last
  entry, and those of all services if it has none; and the settings beside the entries, `open_port` and the like, are the
  last entry, with `service_name` and `service_namespace` as its names. `ratatosk explain PID` names the last entry, with
  file and line.
- Where no criterion can be known (Kubernetes, an unknown language), it does not match.
- At most 1 MiB, 256 entries of a list of criteria, 1024 of any other.
";

fn configuration() -> String {
    format!("# Configuration\n\n{MADE}\n{CONFIGURATION_INTRO}{}", ratatosk::config::page())
}

/// Every own metric, with a value for each of its labels.
fn exposition() -> String {
    let telemetry = Telemetry::new();
    let one = || vec![Dropped { reason: "reason".to_owned(), records: 0 }];
    telemetry.loader_status(&Status {
        produced: vec![Produced { kind: 1, records: 0 }],
        dropped: one(),
        kernel_dropped: one(),
        payload_missing: one(),
        denied: one(),
        ..Status::default()
    });
    telemetry.incomplete(Incomplete::Gap, 0);
    telemetry.ended_by(EndedBy::Turn, 0);
    telemetry.spans_came("exporter", 1);
    telemetry.spans_settled("exporter", 0, 1, "reason");
    telemetry.decorated(Counts { not_sampled: 1, ..Counts::default() });
    telemetry.points_exported("exporter", 0);
    telemetry.points_dropped("exporter", "reason", 0);
    telemetry.otlp_requests("signal", "result", 0);
    telemetry.otlp_resent("signal", "reason", 0);
    telemetry.spans_excluded("exporter", 0);
    telemetry.series_overflow("metric", 0);
    telemetry.internal_exported("signal", 1);
    telemetry.internal_dropped("signal", "reason", 1);
    let mut text = String::new();
    telemetry.render(&mut text);
    text
}

const METRICS_INTRO: &str = "\
What the endpoint of `BEYLA_PROMETHEUS_PORT` serves about the agent itself. Those whose text speaks of the loader or the
probes count since the loader started and outlive the processor; at every scrape

```text
sum(ratatosk_records_produced_total) = ratatosk_records_acknowledged_total
                                     + sum(ratatosk_records_dropped_total{stage=\"server\"})
                                     + ratatosk_records_held
```

Of the spans that came to exporter `otlp`, at every scrape

```text
ratatosk_spans_produced_total{exporter=\"otlp\"} = ratatosk_spans_exported_total{exporter=\"otlp\"}
                                              + sum(ratatosk_spans_dropped_total{exporter=\"otlp\"})
                                              + ratatosk_spans_held{exporter=\"otlp\"}
```

| reason | of a dropped span or point (only spans are queued) |
|---|---|
| `queue_full` | the collector was away or slow for longer than the queue lasts; surely not delivered |
| `retries_exhausted` | the collector was away or refused for as long as a request is tried; surely not delivered |
| `shutdown` | the time to end was over; surely not delivered |
| `rejected`, `partial_success` | the collector refused it, and would again; the log has its words |
| `unconfirmed` | it was sent, perhaps more than once, and no answer came: the collector has it, or not |

A collector that dies or stands still in the middle of a request may have taken it. OTLP sends such a request again, and a
receiver knows a copy of a span by its ids, one of a cumulative point by its series and time. Collectors have at most
`ratatosk_otlp_items_resent_total{reason=\"unconfirmed\"}` copies beyond the first. Delta points add up, so a request of theirs
that nobody answered is not sent again: its points are dropped as `unconfirmed`.

Beside them stand `http_server_*` and `http_client_*` with `_request_duration_seconds`, `_request_body_size_bytes` and
`_response_body_size_bytes` (histograms), and `target_info`, of the observed processes: see
[their names](../processor/src/export/series/metric.rs). OTLP tells the same series by their OpenTelemetry names.

## By OTLP

Off unless it is asked for, each signal alone, and sent where that signal of the observed processes would be sent, with the
same `OTEL_EXPORTER_OTLP_*` (and `OTEL_EXPORTER_OTLP_LOGS_*`):

| setting | tells |
|---|---|
| `BEYLA_INTERNAL_METRICS_EXPORTER=otel` | the metrics below by the same names, always cumulative, each `BEYLA_METRICS_INTERVAL`; also if `OTEL_METRICS_EXPORTER=none` |
| `RATATOSK_INTERNAL_LOGS_EXPORTER=otel` | the log lines of the processor that stderr has, from `BEYLA_LOG_LEVEL` on, without those of libraries |
| `RATATOSK_INTERNAL_TRACES_EXPORTER=otel` | spans `loader connect` (until the loader answers, with failed attempts), `loader stream` (as long as it stands), `otlp export` (a request and its attempts) |

They come from `service.name=ratatosk`, told apart by `service.instance.id=<host>:<pid>`. At most 2048 log records and as many
spans wait, 512 go into a request; of spans of one name ten begin at once, then one a second. What is beyond that, and what
no collector takes, is counted in `ratatosk_internal_dropped_total{signal, reason}`; attempts in `ratatosk_otlp_requests_total` with the
signals `internal_metrics`, `internal_logs` and `internal_traces`. Nothing of it makes the pipeline wait or ends the processor; what is left at the
end has `BEYLA_SHUTDOWN_TIMEOUT`, metrics five seconds of it. The loader logs on stderr only.

## All of them
";

fn metrics(exposition: &str) -> String {
    let mut page = format!(
        "# Own metrics\n\n{MADE}\n{METRICS_INTRO}\n| metric | kind | labels | |\n|---|---|---|---|\n"
    );
    for block in exposition.split("# HELP ").skip(1) {
        row(&mut page, block);
    }
    page
}

/// One metric: `name help`, `# TYPE name kind`, samples.
fn row(page: &mut String, block: &str) {
    let mut lines = block.lines();
    let (name, help) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
    let kind = lines.next().and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
    let labels = lines.next().map(labels).unwrap_or_default().join(", ");
    // Nobody is left to tell if a string can't grow.
    let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {help} |");
}

/// Names of the labels of a sample whose values have no comma.
fn labels(sample: &str) -> Vec<&str> {
    let inside = sample.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(inside, _)| inside);
    inside
        .map(|inside| inside.split(',').filter_map(|pair| pair.split('=').next()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_kind_labels_and_help() {
        let mut page = String::new();
        row(&mut page, "a_total What it is.\n# TYPE a_total counter\na_total{b=\"1\",c=\"2\"} 0\n");
        assert_eq!(page, "| `a_total` | counter | b, c | What it is. |\n");
    }

    #[test]
    fn every_metric_with_labels_shows_them() {
        let page = metrics(&exposition());
        assert!(page.contains("| `ratatosk_records_dropped_total` | counter | stage, reason |"), "{page}");
        assert!(page.contains("| `ratatosk_spans_dropped_total` | counter | exporter, reason |"), "{page}");
    }
}
