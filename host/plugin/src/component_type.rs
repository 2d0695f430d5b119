//! Looks at the component type that a core module carries, before wit-component does.
//!
//! Packages that need each other make it call itself until the stack ends, and the
//! process with it. Neither WIT nor its tools can write such a type, but bytes can.

use std::collections::BTreeMap;

use wit_parser::decoding::decode_world;

/// The first byte of a form that wit-component calls historical, and that hides its component behind a name.
const OUTDATED: u8 = 3;

/// Packages by name, with the names of those that each needs.
type Needs = BTreeMap<String, Vec<String>>;

/// Checks the contents of a module's `component-type` sections.
///
/// # Errors
/// They cannot be read, or their packages need each other in a circle.
pub(super) fn check(sections: &[&[u8]]) -> Result<(), String> {
    let mut needs = Needs::new();
    for section in sections {
        if section.first() == Some(&OUTDATED) {
            return Err("its component type has an outdated form: build it with a newer wit-bindgen".into());
        }
        let (types, _) =
            decode_world(section).map_err(|error| format!("its component type cannot be read: {error:#}"))?;
        for (id, package) in &types.packages {
            let needed = types.package_direct_deps(id).map(|id| types.packages[id].name.to_string());
            needs.entry(package.name.to_string()).or_default().extend(needed);
        }
    }
    match in_circle(&needs) {
        Some(name) => Err(format!(
            "its component type is damaged: package `{name}` needs one that needs it: build it again"
        )),
        None => Ok(()),
    }
}

/// Takes away what needs nothing that is left, for as long as there is any; returns
/// the first of what stays.
fn in_circle(needs: &Needs) -> Option<&str> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, needed) in needs {
        let known: Vec<_> = needed.iter().filter(|needed| needs.contains_key(*needed)).collect();
        left.insert(name, known.len());
        for needed in known {
            needed_by.entry(needed).or_default().push(name);
        }
    }
    let mut free: Vec<&str> =
        left.iter().filter(|(_, n_needed)| **n_needed == 0).map(|(name, _)| *name).collect();
    while let Some(name) = free.pop() {
        left.remove(name);
        for other in needed_by.remove(name).unwrap_or_default() {
            if let Some(n_needed) = left.get_mut(other) {
                *n_needed -= 1;
                if *n_needed == 0 {
                    free.push(other);
                }
            }
        }
    }
    left.into_keys().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_circle(needs: &[(&str, &[&str])], want: Option<&str>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let needs = needs.iter().map(|(name, needed)| ((*name).to_owned(), owned(needed))).collect();
        assert_eq!(in_circle(&needs), want);
    }

    #[test]
    fn packages_may_need_others_and_one_the_same_twice() {
        check_circle(&[("a:a", &["b:b", "c:c", "b:b"]), ("b:b", &["c:c"]), ("c:c", &["gone:gone"])], None);
    }

    #[test]
    fn packages_that_need_each_other_are_in_a_circle() {
        check_circle(&[("a:a", &["b:b"]), ("b:b", &["c:c"]), ("c:c", &["b:b"])], Some("a:a"));
    }

    #[test]
    fn what_is_no_component_type_is_refused() {
        assert!(check(&[b"\0asm"]).unwrap_err().starts_with("its component type cannot be read: "));
        assert!(check(&[b"\x03"]).unwrap_err().starts_with("its component type has an outdated form"));
    }
}
