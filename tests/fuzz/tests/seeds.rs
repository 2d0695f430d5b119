//! What the fuzzer begins with, and what it once found, ends as it should.

use std::collections::BTreeSet;
use std::fs;

use embergate_fuzz::{Asked, TARGETS, check};

#[test]
fn every_seed_is_answered_as_the_document_says() {
    let mut statuses = BTreeSet::new();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/requests")).unwrap() {
        let path = file.unwrap().path();
        let asked = Asked::from_seed(&fs::read(&path).unwrap()).unwrap();
        let status = check(&asked).expect("a seed is HTTP");
        statuses.insert(status.unwrap_or_else(|why| panic!("{}: {why}", path.display())));
    }
    // Seeds that all end early would show nothing.
    for status in [200, 400, 401, 403, 404, 405, 413, 415, 422, 429, 501] {
        assert!(statuses.contains(&status), "no seed is answered with {status}, only {statuses:?}");
    }
}

#[test]
fn every_seed_of_every_target_passes() {
    for (target, check) in TARGETS {
        let folder = format!("{}/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut n_seeds = 0;
        for file in fs::read_dir(&folder).unwrap() {
            check(&fs::read(file.unwrap().path()).unwrap());
            n_seeds += 1;
        }
        assert!(2 < n_seeds, "{folder} has {n_seeds} seeds");
    }
}
