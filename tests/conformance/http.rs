//! Runs the cases of `http.jsonl`, all but those of `later.rs`.

use std::collections::BTreeSet;

use crate::cases::{self, Case};
use crate::gateway::Answer;
use crate::judge;
use crate::later::LATER;
use crate::scenes::{self, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn every_case_that_does_not_wait_is_answered_as_expected() {
    let mut usual = Scene::usual().await;
    let mut failed = Vec::new();
    for case in cases::all().iter().filter(|case| reason_to_wait(&case.id).is_none()) {
        let answer = match scenes::own_answer(case).await {
            Some(answer) => answer,
            None => scenes::ask(&usual.gateway, case).await,
        };
        let calls = usual.calls_since();
        let mut verdict = judge_case(case, &answer).and_then(|()| judge::calls(&case.id, calls));
        if let Some(twin) = judge::twin(&case.id) {
            let twin = usual.gateway.post(&case.path, twin).await;
            verdict = verdict.and_then(|()| judge::same(&answer, &twin));
            verdict = verdict.and_then(|()| judge::calls("twin", usual.calls_since()));
        }
        if let Err(why) = verdict {
            failed.push(format!("{}: {why}\n  expected: {} {}", case.id, case.expect_status, case.expect));
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
    usual.gateway.stop().await;
}

/// A case that waits must not be served already: then it belongs to the others.
#[tokio::test(flavor = "multi_thread")]
async fn every_case_that_waits_is_in_the_file_and_does_not_pass_yet() {
    let usual = Scene::usual().await;
    let cases = cases::all();
    let known: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(known.len(), cases.len(), "two cases have the same id");
    let unknown: Vec<_> = LATER.iter().filter(|(id, _)| !known.contains(id)).collect();
    assert!(unknown.is_empty(), "no case of the file: {unknown:?}");
    for case in cases.iter().filter(|case| reason_to_wait(&case.id).is_some()) {
        let answer = scenes::ask(&usual.gateway, case).await;
        assert!(judge_case(case, &answer).is_err(), "{} passes: take it off the list", case.id);
    }
    usual.gateway.stop().await;
}

fn reason_to_wait(id: &str) -> Option<&'static str> {
    LATER.iter().find(|(later, _)| *later == id).map(|(_, reason)| *reason)
}

fn judge_case(case: &Case, answer: &Answer) -> Result<(), String> {
    if answer.status != case.expect_status {
        let start: String = answer.text.chars().take(300).collect();
        return Err(format!("status {}: {start}", answer.status));
    }
    if answer.header("x-request-id").is_none_or(str::is_empty) {
        return Err("no x-request-id".to_owned());
    }
    if 400 <= answer.status {
        judge::error_shape(&case.api, answer)?;
    }
    judge::case(&case.id, answer)
}
