//! A folder, and files in it, that belong to this user alone.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// Makes `dir` a folder that only this user can look into; returns the user's number.
///
/// # Errors
/// It cannot be made, or others own it or can write to it: who knows what they have put there.
#[cfg(unix)]
pub(super) fn make_private(dir: &Path) -> io::Result<u32> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // A file that we make tells who we are: there is no safe call that does.
    let probe = dir.join(uuid::Uuid::new_v4().simple().to_string());
    let we = create(&probe)?.metadata()?.uid();
    std::fs::remove_file(&probe)?;
    let found = std::fs::metadata(dir)?;
    if found.uid() != we {
        return Err(io::Error::other("the folder belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(io::Error::other("others can write to the folder"));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(we)
}

/// Makes `dir`; who may do what with it is the system's business.
#[cfg(not(unix))]
pub(super) fn make_private(dir: &Path) -> io::Result<u32> {
    std::fs::create_dir_all(dir).map(|()| 0)
}

/// Makes a file that only this user can read and write.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Finds what speaks against a file of the user `owner`.
pub(super) fn check(found: &Metadata, owner: u32) -> Result<(), String> {
    if !found.is_file() {
        return Err("it is no file".into());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        if found.uid() != owner {
            return Err(format!("it belongs to the user {}", found.uid()));
        }
        if found.mode() & 0o022 != 0 {
            return Err("others can write to it".into());
        }
    }
    #[cfg(not(unix))]
    let _ = owner;
    Ok(())
}

/// Whether `file` is what stands at `path`.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let (Ok(ours), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

/// Whether `file` is what stands at `path`, which no other file can take while it is open.
#[cfg(not(unix))]
pub(super) fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Has the names in `dir` survive a power cut.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What becomes of a folder that was made with `mode`.
    #[track_caller]
    fn check_mode(mode: u32, want: Result<u32, &str>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        let made = make_private(dir.path());
        let found = std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777;
        match want {
            Ok(want) => assert_eq!((made.is_ok(), found), (true, want)),
            Err(want) => assert!(made.unwrap_err().to_string().contains(want)),
        }
    }

    #[test]
    fn a_folder_is_closed_to_others() {
        check_mode(0o755, Ok(0o700));
        check_mode(0o700, Ok(0o700));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        check_mode(0o777, Err("others can write"));
        check_mode(0o770, Err("others can write"));
    }
}
