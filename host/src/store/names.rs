//! Names: of collections, of their generations, and of the aliases between them.
//!
//! A collection `docs` is built as generations `docs@1`, `docs@2` and so on. The
//! alias `docs` leads to the one that serves, `docs@previous` to the one before.

use super::StoreError;

/// Between a collection's name and what tells its generations apart. No
/// collection has it in its name.
const MARK: char = '@';
/// Leads to the generation that served before.
const PREVIOUS: &str = "previous";

/// Refuses what cannot name a collection: the name is also a file's and part of a URL.
///
/// # Errors
/// `Name` says what may be in one.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=128).contains(&name.len()) && name.chars().all(fits) && name.contains(|c| c != '.') {
        Ok(())
    } else {
        Err(StoreError::Name { name: name.to_owned() })
    }
}

/// As `check_name`, for the names of generations and aliases too.
pub(super) fn check_stored_name(name: &str) -> Result<(), StoreError> {
    let refused = || StoreError::Name { name: name.to_owned() };
    match name.split_once(MARK) {
        None => check_name(name),
        Some((collection, PREVIOUS)) => check_name(collection).map_err(|_| refused()),
        Some(_) => generation_of(name).map(drop).ok_or_else(refused),
    }
}

/// The name of a collection's generation of that number.
pub fn generation(collection: &str, number: u64) -> String {
    format!("{collection}{MARK}{number}")
}

/// The alias of the generation that served before the one that serves.
pub fn previous(collection: &str) -> String {
    format!("{collection}{MARK}{PREVIOUS}")
}

/// The collection that a generation belongs to, and its number there; nothing
/// for any other name.
pub fn generation_of(name: &str) -> Option<(&str, u64)> {
    let (collection, number) = name.split_once(MARK)?;
    // As it was written: `docs@01` would be a second name for `docs@1`.
    let number = number.parse::<u64>().ok().filter(|parsed| parsed.to_string() == number)?;
    check_name(collection).ok().map(|()| (collection, number))
}

/// The collection that a generation or an alias belongs to.
pub fn collection_of(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(collection, _)| collection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_generations_lead_back_to_their_collection() {
        assert_eq!(generation_of(&generation("docs", 7)), Some(("docs", 7)));
        assert_eq!(collection_of(&previous("docs")), "docs");
        for other in ["docs", "docs@", "docs@x", "docs@01", "docs@+1", "docs@previous", "a/b@1", "@1"] {
            assert_eq!(generation_of(other), None, "{other}");
        }
    }

    #[test]
    fn users_name_no_generation() {
        assert!(check_name("docs@1").is_err());
        for name in ["docs", "docs@1", "docs@previous"] {
            assert!(check_stored_name(name).is_ok(), "{name}");
        }
        for name in ["docs@next", "docs@1@2", "@previous", "a b@1", ""] {
            assert!(check_stored_name(name).is_err(), "{name}");
        }
    }
}
