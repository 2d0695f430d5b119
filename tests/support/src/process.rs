//! What the system says of a process that runs: its memory, its threads and its open files.

use std::fs;

/// A process by its number.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// Bytes that are resident now; 0 once it has ended.
    pub fn resident(self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// The most bytes that were resident since [`Process::forget_most_resident`].
    pub fn most_resident(self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    pub fn forget_most_resident(self) {
        fs::write(self.path("clear_refs"), "5").expect("the mark can be set back");
    }

    pub fn threads(self) -> u64 {
        self.status("Threads:")
    }

    pub fn open_files(self) -> u64 {
        fs::read_dir(self.path("fd")).map_or(0, |files| files.count() as u64)
    }

    /// The number that stands behind `name`, whatever its unit.
    fn status(self, name: &str) -> u64 {
        let status = fs::read_to_string(self.path("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    fn path(self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0)
    }
}
