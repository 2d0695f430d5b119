//! Tells, before any of a plugin's code runs, whether it can be a plugin of this
//! gateway, and if not, what its author or the operator can do.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::component_type;
use super::grants::{check_imports, is_ours};

/// The version of `wit/` that this gateway provides.
const VERSION: &str = "0.1.0";
/// Versions of the contract that this gateway serves.
const SERVED: &str = "0.1.";
/// Larger files are refused unread.
pub(super) const MAX_BYTES: u64 = 64 << 20;

const MAGIC: &[u8] = b"\0asm";
const MODULE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// What a component has and wants of the contract.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) is_preprocessor: bool,
    pub(super) is_chunker: bool,
    pub(super) uses_text: bool,
    pub(super) needs_embedder: bool,
}

/// Returns `bytes` as a component, turning a core module made with wit-bindgen into one.
pub(super) fn component(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, String> {
    if MAX_BYTES < bytes.len() as u64 {
        return Err(too_large(bytes.len() as u64));
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return Err("it is compiled code (`.cwasm`), which is not loaded from outside: use the `.wasm` that it was compiled from".into());
    }
    let Some(version) = bytes.strip_prefix(MAGIC).and_then(|rest| rest.get(..4)) else {
        return Err(
            "it is not WebAssembly: a plugin is a component or a core module made with wit-bindgen".into()
        );
    };
    if version != MODULE && version != COMPONENT {
        return Err(format!(
            "it is WebAssembly of an unknown version ({version:02x?}): build it as a component"
        ));
    }
    let types = walk_sections(&bytes[8..])?;
    if version == COMPONENT {
        return Ok(bytes.into());
    }
    if types.is_empty() {
        return Err("it is a core module without a component type: make it with wit-bindgen from the gateway's `wit` folder".into());
    }
    // The readers of component types panic on some that no tool writes.
    let made = std::panic::catch_unwind(|| made_of(bytes, &types));
    made.unwrap_or_else(|_| Err("its component type is damaged: build it again".into())).map(Into::into)
}

/// Makes a component of the core module `bytes`, by what its sections of component types say.
fn made_of(bytes: &[u8], types: &[&[u8]]) -> Result<Vec<u8>, String> {
    component_type::check(types)?;
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| {
        let hint = if format!("{error:#}").contains("wasi_snapshot_preview1") {
            ": build it for wasm32-unknown-unknown or wasm32-wasip2"
        } else {
            ""
        };
        format!("it cannot be made a component{hint}: {error:#}")
    })
}

/// Says what is wrong with a component that does not compile, for the reason `why`.
pub(super) fn invalid(why: &str) -> String {
    let hint = if why.contains("component model async") {
        ": it is made for asynchronous calls, which plugins have none of: build it without, with componentize-qjs by `--sync`, with `jco componentize --backend qjs` by `--backend-qjs-disable-async`"
    } else {
        ""
    };
    format!("it is no valid component: {why}{hint}")
}

pub(super) fn too_large(n_bytes: u64) -> String {
    format!(
        "it has {n_bytes} bytes, more than the {MAX_BYTES} that a plugin may have: strip it of debug information"
    )
}

/// Walks over all sections; returns what is in those that carry a component's type.
fn walk_sections(mut rest: &[u8]) -> Result<Vec<&[u8]>, String> {
    let truncated = || "it is truncated: copy or build it again".to_owned();
    let mut types = Vec::new();
    while let [id, after @ ..] = rest {
        let (len, after) = leb128(after).ok_or_else(truncated)?;
        let section = after.get(..len).ok_or_else(truncated)?;
        if *id == 0 {
            let named = leb128(section).and_then(|(len, after)| after.split_at_checked(len));
            types.extend(
                named.filter(|(name, _)| name.starts_with(b"component-type")).map(|(_, type_)| type_),
            );
        }
        rest = &after[len..];
    }
    Ok(types)
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// Checks what `component` exports and imports; `may_embed` is whether it has that grant.
pub(super) fn shape(
    engine: &Engine,
    name: &str,
    component: &Component,
    may_embed: bool,
) -> Result<Shape, String> {
    let component_type = component.component_type();
    let imports: Vec<_> = component_type.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let exports: Vec<_> = component_type.exports(engine).map(|(name, _)| name.to_owned()).collect();
    shape_of(name, &imports, &exports, may_embed)
}

fn shape_of(name: &str, imports: &[String], exports: &[String], may_embed: bool) -> Result<Shape, String> {
    if let Some(version) = imports.iter().chain(exports).find_map(|name| foreign_version(name)) {
        return Err(format!(
            "it was built for embergate:plugin {version}, and this gateway has {VERSION}: build it again with this gateway's `wit` folder"
        ));
    }
    let exports_interface = |interface: &str| exports.iter().any(|name| is_ours(name, interface));
    let imports_interface = |interface: &str| imports.iter().any(|name| is_ours(name, interface));
    let shape = Shape {
        is_preprocessor: exports_interface("preprocessor"),
        is_chunker: exports_interface("chunker"),
        uses_text: imports_interface("text"),
        needs_embedder: imports_interface("embedder"),
    };
    if !exports_interface("lifecycle") {
        return Err("it does not export `lifecycle`, which every plugin has to: build it against a world of `wit/embergate.wit`".into());
    }
    if !shape.is_preprocessor && !shape.is_chunker {
        return Err("it exports neither `preprocessor` nor `chunker`, and so has nothing to do".into());
    }
    check_imports(name, imports, may_embed)?;
    Ok(shape)
}

/// Returns the version of an interface of the contract that is not served.
fn foreign_version(name: &str) -> Option<&str> {
    let (_, version) = name.strip_prefix("embergate:plugin/")?.split_once('@')?;
    (!version.starts_with(SERVED)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_file(bytes: &[u8], want: &str) {
        let error = component(bytes).unwrap_err();
        assert!(error.contains(want), "{error}");
    }

    #[track_caller]
    fn check_shape(imports: &[&str], exports: &[&str], want: Result<(), &str>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let got = shape_of("legal", &owned(imports), &owned(exports), false);
        match (got, want) {
            (Ok(_), Ok(())) => (),
            (Err(got), Err(want)) if got.contains(want) => (),
            (got, want) => panic!("{got:?} is not {want:?}"),
        }
    }

    const LIFECYCLE: &str = "embergate:plugin/lifecycle@0.1.0";
    const CHUNKER: &str = "embergate:plugin/chunker@0.1.0";

    #[test]
    fn text_is_not_webassembly() {
        check_file(b"# notes", "it is not WebAssembly");
    }

    #[test]
    fn an_empty_file_is_not_webassembly() {
        check_file(b"", "it is not WebAssembly");
    }

    #[test]
    fn a_module_without_a_type_cannot_become_a_component() {
        check_file(b"\0asm\x01\0\0\0", "a core module without a component type");
    }

    #[test]
    fn a_file_that_ends_in_a_section_is_truncated() {
        check_file(b"\0asm\x0d\0\x01\0\x01\x08\0asm", "it is truncated");
    }

    #[test]
    fn a_component_for_asynchronous_calls_is_told_how_to_be_built() {
        let why = "failed to parse WebAssembly module: `task.cancel` requires the component model async feature (at offset 0x18baa4)";
        let said = invalid(why);
        assert!(said.contains(why) && said.ends_with("`--backend-qjs-disable-async`"), "{said}");
        assert_eq!(invalid("unexpected end"), "it is no valid component: unexpected end");
    }

    #[test]
    fn a_chunker_passes() {
        check_shape(
            &["embergate:plugin/types@0.1.0", "wasi:cli/environment@0.2.9"],
            &[LIFECYCLE, CHUNKER],
            Ok(()),
        );
    }

    #[test]
    fn a_patch_version_of_the_contract_passes() {
        check_shape(&["embergate:plugin/log@0.1.3"], &[LIFECYCLE, CHUNKER], Ok(()));
    }

    #[test]
    fn another_version_of_the_contract_is_named() {
        check_shape(&[], &["embergate:plugin/lifecycle@0.2.0"], Err("built for embergate:plugin 0.2.0"));
    }

    #[test]
    fn a_plugin_without_lifecycle_is_refused() {
        check_shape(&[], &[CHUNKER], Err("does not export `lifecycle`"));
    }

    #[test]
    fn a_plugin_without_a_role_is_refused() {
        check_shape(&[], &[LIFECYCLE], Err("neither `preprocessor` nor `chunker`"));
    }
}
