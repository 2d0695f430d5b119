//! `keep_alive` and `options`, as Ollama reads them.

use serde::Serialize;

use super::super::{KeepAlive, Loading};

/// One set for each model: Ollama loads a model anew when they differ.
#[derive(Serialize)]
pub(super) struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ctx: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_batch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_gpu: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    main_gpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_thread: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    use_mmap: Option<bool>,
}

/// Nothing where all is left to Ollama.
pub(super) fn options(loading: &Loading) -> Option<Options> {
    let options = &loading.options;
    (*options != Default::default()).then_some(Options {
        num_ctx: options.num_ctx,
        num_batch: options.num_batch,
        num_gpu: options.num_gpu,
        main_gpu: options.main_gpu,
        num_thread: options.num_thread,
        use_mmap: options.use_mmap,
    })
}

/// A duration as Go writes it; one below zero is for ever.
pub(super) fn keep_alive(loading: &Loading) -> String {
    match loading.keep_alive {
        KeepAlive::Forever => "-1s".to_owned(),
        KeepAlive::For(time) if time.subsec_nanos() == 0 => format!("{}s", time.as_secs()),
        KeepAlive::For(time) => format!("{}ms", time.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(keep: KeepAlive, want: &str) {
        assert_eq!(keep_alive(&Loading { keep_alive: keep, ..Loading::default() }), want);
    }

    #[test]
    fn a_time_is_written_as_go_reads_it() {
        check(KeepAlive::default(), "3600s");
        check(KeepAlive::For(Duration::from_millis(1500)), "1500ms");
        check(KeepAlive::Forever, "-1s");
    }

    #[test]
    fn only_what_is_set_is_sent() {
        let mut loading = Loading::default();
        assert!(options(&loading).is_none());
        loading.options.num_gpu = Some(0);
        let sent = serde_json::to_value(options(&loading)).unwrap();
        assert_eq!(sent, serde_json::json!({ "num_gpu": 0 }));
    }
}
