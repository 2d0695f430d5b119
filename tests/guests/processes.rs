//! What has to be seen in a process where nothing else runs: the test binary starts itself.

use std::process::Command;

use embergate::plugin::Limits;

use super::{call, document, hostile, limits};

/// How many calls trap, or end as badly.
const TRAPS: usize = 10_000;
/// Growth that a process of some hundred threads and caches may show without losing anything.
const MAX_GROWTH_KIB: u64 = 16 << 10;

/// Runs one ignored test of this binary by itself.
fn run(test: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.output().unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{why}");
}

#[test]
fn ten_thousand_traps_leave_nothing_behind() {
    run("processes::traps_by_the_thousand");
}

#[tokio::test]
#[ignore = "run by `ten_thousand_traps_leave_nothing_behind`, where nothing else opens files"]
async fn traps_by_the_thousand() {
    const ORDERS: [&str; 10] = [
        "trap",
        "drop",
        "recurse",
        "grow",
        "huge",
        "hold",
        "no such document",
        "no such span",
        "overlap",
        "refuse",
    ];
    let limits = Limits { memory: embergate::units::ByteSize::mib(3), handles: 50, ..limits() };
    let plugin = hostile(limits).await;
    let held = plugin.held().expect("there is a pool");
    let mut before = None;
    for n_traps in 0..TRAPS {
        let order = ORDERS[n_traps % ORDERS.len()];
        plugin.process(&call(), &[document(order)]).await.expect_err(order);
        if n_traps == TRAPS / 10 {
            before = Some((open_files(), resident_kib()));
        }
    }
    plugin.process(&call(), &[document("keep")]).await.unwrap();
    assert_eq!(plugin.held().unwrap(), held);
    let Some((files, resident)) = before else { return };
    assert_eq!(open_files(), files);
    let now = resident_kib();
    assert!(now <= resident + MAX_GROWTH_KIB, "{resident} KiB were resident, and now {now}");
}

/// Nothing where there is no `/proc`.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}
