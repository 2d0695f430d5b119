//! Where configuration, data and compiled plugins live on this machine.

use std::path::{Path, PathBuf};

/// The folders that Embergate uses where the configuration names none.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Where configuration is looked for, in this order.
    search: Vec<PathBuf>,
    /// The embedded store and the indexer's state.
    pub data: PathBuf,
    /// Compiled plugins.
    pub cache: PathBuf,
}

impl Folders {
    /// The folders that this system has for its users; the current folder for a user without a home.
    pub fn of_this_machine() -> Self {
        let mut search = vec![PathBuf::new()];
        let user = directories::ProjectDirs::from("", "", "embergate");
        search.extend(user.iter().map(|folders| folders.config_dir().to_owned()));
        if cfg!(unix) {
            search.push("/etc/embergate".into());
        }
        let (data, cache) = match &user {
            Some(folders) => (folders.data_dir().to_owned(), folders.cache_dir().to_owned()),
            None => ("embergate-data".into(), "embergate-cache".into()),
        };
        Self { search, data, cache }
    }

    /// The first configuration file that is there.
    pub(super) fn find(&self) -> Option<PathBuf> {
        self.candidates().find(|file| is_there(file))
    }

    /// The files that are looked for, in this order.
    pub fn candidates(&self) -> impl Iterator<Item = PathBuf> {
        self.search.iter().map(|folder| folder.join("embergate.toml"))
    }
}

// A file that cannot be read is there all the same: passing it by would be a silent surprise.
fn is_there(file: &Path) -> bool {
    !matches!(std::fs::metadata(file), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_wins() {
        let root = tempfile::tempdir().unwrap();
        let search: Vec<PathBuf> = ["a", "b", "c"].map(|name| root.path().join(name)).into();
        for folder in &search {
            std::fs::create_dir(folder).unwrap();
        }
        let folders = Folders { search: search.clone(), data: PathBuf::new(), cache: PathBuf::new() };
        assert_eq!(folders.find(), None);
        std::fs::write(search[2].join("embergate.toml"), "").unwrap();
        assert_eq!(folders.find(), Some(search[2].join("embergate.toml")));
        std::fs::write(search[1].join("embergate.toml"), "").unwrap();
        assert_eq!(folders.find(), Some(search[1].join("embergate.toml")));
    }
}
