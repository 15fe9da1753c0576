//! A scrape of a Prometheus endpoint.

use crate::client::Connection;

/// Every sample of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<(String, f64)>,
}

impl Metrics {
    /// Scrapes `127.0.0.1:port/metrics`, none while nobody answers.
    #[must_use]
    pub fn scrape(port: u16) -> Option<Self> {
        let mut connection = Connection::open(port).ok()?;
        connection.send(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").ok()?;
        let response = connection.response("GET").ok().filter(|response| response.status == 200)?;
        Some(Self::parse(&String::from_utf8_lossy(&response.body)))
    }

    /// Parses the text format.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self { samples: samples.collect() }
    }

    /// Sum of the series of `name` that have every one of `labels` (each as `key="value"`).
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        let fits = |series: &str| of_name(series) && labels.iter().all(|label| series.contains(label));
        self.samples.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
    }

    /// Series of exactly this name, each with its labels.
    pub fn series<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        let of_name = move |series: &&str| series.split('{').next() == Some(&name);
        self.samples.iter().map(|(series, _)| series.as_str()).filter(of_name)
    }

    /// Series of `name` that are not zero, for messages of tests.
    #[must_use]
    pub fn non_zero(&self, name: &str) -> Vec<String> {
        let found = self.samples.iter().filter(|(series, value)| series.starts_with(name) && *value != 0.0);
        found.map(|(series, value)| format!("{series} {value}")).collect()
    }
}
