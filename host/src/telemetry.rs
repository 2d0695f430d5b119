//! Logs and spans by `tracing`, metrics by `metrics` in Prometheus' format.

mod behind;
mod help;
mod lines;
mod throttle;

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use self::behind::Behind;
use self::lines::Lines;
pub(crate) use self::throttle::Throttle;

/// The `[log]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is logged, such as `info` or `warn,embergate::server=debug`.
    pub filter: String,
    pub format: Format,
    /// Whether a line is written as each span ends: requests, and calls to upstreams.
    pub spans: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: Format::Plain, spans: false }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "`{filter}` (`log.filter`) says nothing about what to log: {reason}; write a level such as `info`"
    )]
    Filter { filter: String, reason: String },
    #[error("the log was started already")]
    Started,
}

/// Lines that wait to be written, where the log has a thread of its own.
static BEHIND: OnceLock<Behind> = OnceLock::new();

/// Starts the log, to standard error. `colour` is for a terminal whose owner did not set `NO_COLOR`.
///
/// With `behind`, lines are written by a thread of the log's own, a moment later and many
/// at a time: for what logs each request. [`flush_log`] waits for the last of them.
///
/// # Errors
/// A filter that cannot be read, or a second call.
pub fn start_log(config: &Config, colour: bool, behind: bool) -> Result<(), LogError> {
    let started = behind.then(|| Behind::spawn(io::stderr())).transpose().unwrap_or(None);
    if let Some(started) = started {
        BEHIND.set(started).map_err(|_| LogError::Started)?;
    }
    let lines = lines(config, colour, destination)?;
    tracing_subscriber::registry().with(lines).try_init().map_err(|_| LogError::Started)
}

/// Waits until all of the log is written, for a second at most: before the process ends.
pub fn flush_log() {
    if let Some(behind) = BEHIND.get() {
        behind.flush(Duration::from_secs(1));
    }
}

fn destination() -> Box<dyn io::Write> {
    match BEHIND.get() {
        Some(behind) => Box::new(behind.clone()),
        None => Box::new(io::stderr()),
    }
}

/// Writes events, each as one line, and spans where they are asked for.
///
/// Where they are not, nobody watches spans, and they are not even made: a span
/// costs its request a look at a flag until something exports it.
fn lines<W>(
    config: &Config,
    colour: bool,
    to: fn() -> W,
) -> Result<Box<dyn Layer<Registry> + Send + Sync>, LogError>
where
    W: io::Write + 'static,
{
    let filter = filter(&config.filter)?;
    let ends = if config.spans { FmtSpan::CLOSE } else { FmtSpan::NONE };
    let layer = tracing_subscriber::fmt::layer().with_writer(Lines::new(to, colour)).with_span_events(ends);
    let layer = match config.format {
        Format::Plain => layer.with_ansi(colour).boxed(),
        Format::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    Ok(match config.spans {
        true => layer.with_filter(filter).boxed(),
        false => layer.with_filter(filter.and(filter_fn(|about| about.is_event()))).boxed(),
    })
}

/// Libraries that warn of each thing that a stranger does: the server tells it, and not without end.
const QUIET: [&str; 2] = ["h2=error", "hyper=error"];

fn filter(directives: &str) -> Result<EnvFilter, LogError> {
    let wrong = |reason: String| LogError::Filter { filter: directives.to_owned(), reason };
    let mut filter = EnvFilter::builder().parse(directives).map_err(|error| wrong(error.to_string()))?;
    for quiet in QUIET {
        let (library, _) = quiet.split_once('=').unwrap_or((quiet, ""));
        if !directives.split(',').any(|named| named.trim().starts_with(library)) {
            filter = filter.add_directive(quiet.parse().map_err(|error| wrong(format!("{error}")))?);
        }
    }
    Ok(filter)
}

/// Upper bounds of histograms by the last word of their names. Seconds go from
/// an answer out of memory to the longest wait of a client.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const TEXTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];
const TOKENS: &[f64] = &[8.0, 32.0, 128.0, 512.0, 2048.0, 8192.0, 16_384.0, 32_768.0, 131_072.0, 524_288.0];

/// How often recorded times and sizes are put into their buckets; they pile up in between.
const UPKEEP: Duration = Duration::from_secs(5);

static INSTALLED: OnceLock<Metrics> = OnceLock::new();

/// Where metrics are read from.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the process' recorder; the second call returns the first one's.
    pub fn install() -> Self {
        INSTALLED
            .get_or_init(|| {
                let recorder = with_buckets(PrometheusBuilder::new())
                    .expect("the bounds above are not empty")
                    .build_recorder();
                let handle = recorder.handle();
                match metrics::set_global_recorder(recorder) {
                    Ok(()) => help::describe(),
                    Err(_) => tracing::warn!("another recorder has the metrics of this process"),
                }
                Self { handle }
            })
            .clone()
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Keeps the memory of metrics bounded where nobody reads them, until `stop`.
    pub async fn upkeep(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}

fn with_buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    let ends_in = |word: &str| Matcher::Suffix(word.to_owned());
    builder
        .set_buckets_for_metric(ends_in("_seconds"), SECONDS)?
        .set_buckets_for_metric(ends_in("_texts"), TEXTS)?
        .set_buckets_for_metric(ends_in("_tokens"), TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_filter(directives: &str, accepted: bool) {
        assert_eq!(filter(directives).is_ok(), accepted, "{directives}");
    }

    #[test]
    fn a_filter_is_a_level_or_levels_by_module() {
        check_filter("info", true);
        check_filter("warn,embergate::server=debug", true);
        check_filter("", true);
        check_filter("embergate=loud", false);
    }

    /// Lines of the log, by the test that made them: a test runs on a thread of its own.
    fn written(config: &Config, what: impl FnOnce()) -> String {
        thread_local!(static LOG: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) });
        struct Log;
        impl io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = lines(config, false, || Log).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), what);
        String::from_utf8(LOG.take()).unwrap()
    }

    fn span_and_event() {
        let span = tracing::info_span!("request", "http.route" = "/x");
        span.in_scope(|| tracing::warn!("inside"));
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let error: Box<dyn std::error::Error> = "bad\nINFO forged".into();
        for format in [Format::Plain, Format::Json] {
            let log = written(&Config { format, ..Config::default() }, || {
                tracing::warn!(error, shown = %"a\r\nb\u{1b}[2J", "said:\n{}", "x\ny");
            });
            assert_eq!(log.matches(['\n', '\r', '\u{1b}']).count(), 1, "{log:?}");
            assert!(log.ends_with('\n') && log.contains("forged"), "{log:?}");
        }
    }

    #[test]
    fn spans_are_made_only_where_they_are_asked_for() {
        let log = written(&Config::default(), || {
            assert!(tracing::info_span!("request").is_disabled());
            span_and_event();
        });
        assert!(log.contains("inside") && !log.contains("http.route"), "{log}");
        let spans = Config { spans: true, ..Config::default() };
        let log = written(&spans, span_and_event);
        assert!(log.lines().nth(1).unwrap().contains("http.route=\"/x\""), "{log}");
        let log = written(&Config { format: Format::Json, ..spans }, span_and_event);
        let end: serde_json::Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
        assert_eq!((&end["message"], &end["span"]["http.route"]), (&"close".into(), &"/x".into()));
    }

    #[test]
    fn libraries_that_strangers_make_talk_are_quiet_unless_they_are_named() {
        let shown = |directives: &str| filter(directives).unwrap().to_string();
        assert!(shown("info").contains("h2=error") && shown("info").contains("hyper=error"));
        assert!(shown("info,h2=debug").contains("h2=debug") && !shown("info,h2=debug").contains("h2=error"));
    }

    #[test]
    fn the_second_recorder_is_the_first_one() {
        let (first, second) = (Metrics::install(), Metrics::install());
        metrics::counter!("embergate_test_total").increment(3);
        assert!(first.render().contains("embergate_test_total 3"));
        assert!(second.render().contains("embergate_test_total 3"));
    }

    #[test]
    fn times_and_sizes_are_put_into_buckets_of_their_own() {
        let recorder = with_buckets(PrometheusBuilder::new()).unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            help::describe();
            metrics::histogram!("embergate_batch_texts").record(3.0);
            metrics::histogram!("embergate_batch_wait_seconds").record(0.002);
        });
        let text = recorder.handle().render();
        assert!(text.contains("# HELP embergate_batch_texts Texts in an upstream call.\n"), "{text}");
        assert!(text.contains(r#"embergate_batch_texts_bucket{le="4"} 1"#), "{text}");
        assert!(text.contains(r#"embergate_batch_wait_seconds_bucket{le="0.0025"} 1"#), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn upkeep_ends_when_told() {
        let stop = CancellationToken::new();
        stop.cancel();
        Metrics::install().upkeep(stop).await;
    }
}
