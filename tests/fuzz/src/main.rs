//! The fuzz target, when built by `fuzz.sh`; else it asks what the files say that it is given.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| embergate_fuzz::check_bytes(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        embergate_fuzz::check_bytes(&std::fs::read(path)?);
    }
    Ok(())
}
