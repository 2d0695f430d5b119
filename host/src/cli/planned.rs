//! What `index --plan` found out.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::output::Output;
use super::summary::{bytes, grouped, shown};
use crate::index::{Plan, Summary};

pub(super) fn tell(output: &Output, collection: &str, plan: &Plan, summary: &Summary) -> io::Result<()> {
    if output.json {
        return output.json(&json!({
            "event": "plan", "collection": collection, "generation": plan.generation,
            "beside": plan.beside.as_ref().map(|(beside, _)| beside),
            "why": plan.beside.as_ref().map(|(_, why)| why),
            "new": plan.n_new, "changed": plan.n_changed, "removed": plan.n_removed,
            "unchanged": summary.n_unchanged, "skipped": summary.n_skipped, "failed": summary.n_failed,
            "chunks": plan.n_chunks, "kept": plan.n_kept, "to_embed": plan.n_missing,
            "tokens": plan.n_tokens, "seconds": plan.seconds(), "whole": plan.is_whole,
        }));
    }
    output.line(&format!("`{collection}`: nothing is written; a run would change {}", generation(plan)))?;
    for (name, value) in rows(plan, summary) {
        output.line(&format!("  {name:<10} {value}"))?;
    }
    Ok(())
}

fn generation(plan: &Plan) -> String {
    match &plan.beside {
        Some((beside, why)) => {
            format!("{}, beside {beside}, because {why} changed, and let it serve then", plan.generation)
        }
        None => plan.generation.clone(),
    }
}

fn rows(plan: &Plan, summary: &Summary) -> Vec<(&'static str, String)> {
    let counts = [
        (plan.n_new, "new"),
        (plan.n_changed, "changed"),
        (plan.n_removed, "to remove"),
        (summary.n_unchanged, "unchanged"),
        (summary.n_skipped, "to skip"),
        (summary.n_failed, "failing"),
    ];
    let parts = counts.iter().filter(|(n, _)| 0 < *n);
    let mut parts: Vec<_> = parts.map(|(n, what)| format!("{} {what}", grouped(*n as u64))).collect();
    if !plan.is_whole {
        parts.push("more beyond the limit".to_owned());
    }
    let n_copied = plan.n_chunks.saturating_sub(plan.n_kept + plan.n_missing);
    let mut rows = vec![("documents", if parts.is_empty() { "none".to_owned() } else { parts.join(", ") })];
    rows.push((
        "chunks",
        format!(
            "{}: {} to embed, {} to copy, {} to keep",
            grouped(plan.n_chunks as u64),
            grouped(plan.n_missing as u64),
            grouped(n_copied as u64),
            grouped(plan.n_kept as u64)
        ),
    ));
    rows.push(("tokens", format!("{} to embed", grouped(plan.n_tokens))));
    let time = match (plan.seconds(), plan.speed) {
        (Some(seconds), Some(speed)) => format!(
            "{}, at {} tokens a second as measured last",
            shown(Duration::from_secs_f64(seconds)),
            grouped((speed.n_tokens as f64 / speed.seconds.max(1e-3)) as u64)
        ),
        _ => "nothing to embed".to_owned(),
    };
    rows.push(("time", time));
    rows.push(("read", format!("{} documents, {}", grouped(summary.n_documents), bytes(summary.n_bytes))));
    rows
}
