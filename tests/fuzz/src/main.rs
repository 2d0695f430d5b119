//! The fuzz targets, when built by `fuzz.sh`, which names one by `FUZZ_TARGET`; else
//! checks a target's files again: `embergate-fuzz TARGET FILE...`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static CHECK: std::sync::LazyLock<embergate_fuzz::Check> = std::sync::LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        pass_over_what_is_caught();
        embergate_fuzz::target(&name).expect("`FUZZ_TARGET` names a target")
    });
    CHECK(bytes);
});

/// libFuzzer ends at any panic. Those of the readers of component types are known and caught.
#[cfg(fuzzing)]
fn pass_over_what_is_caught() {
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |location| location.file());
        if !file.contains("/wit-parser-") && !file.contains("/wit-component-") {
            end(panic);
        }
    }));
}

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let target = arguments.next().and_then(|name| embergate_fuzz::target(name.to_str()?));
    let Some(check) = target else {
        let names: Vec<_> = embergate_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
        return Err(std::io::Error::other(format!("name a target first: {}", names.join(", "))));
    };
    for path in arguments {
        check(&std::fs::read(path)?);
    }
    Ok(())
}
