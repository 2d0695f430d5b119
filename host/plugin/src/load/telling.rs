//! What people hear of compiling, which takes seconds where a whole interpreter is in a plugin.

use std::time::Duration;

use crate::Code;

/// Under a name of its own: commands tell this, and little else.
const LOG: &str = "embergate::plugin::compiling";
/// Bytes of a component that are known to take a while to compile.
const LARGE: usize = 1 << 20;
/// Compiling that takes this long is told when it is done.
const LONG: Duration = Duration::from_secs(1);

/// Says why nothing happens for a while: an interpreter takes seconds.
pub(super) fn of_compiling(plugin: &str, n_bytes: usize) {
    if LARGE <= n_bytes {
        tracing::info!(target: LOG, plugin, n_bytes, "compiling a large plugin, which takes seconds the first time");
    }
}

pub(super) fn of_code(plugin: &str, code: Code) {
    match code {
        Code::Compiled(took) if LONG <= took => {
            tracing::info!(target: LOG, plugin, ?took, "plugin compiled");
        }
        Code::Compiled(took) => tracing::debug!(target: LOG, plugin, ?took, "plugin compiled"),
        Code::Kept(took) => tracing::debug!(target: LOG, plugin, ?took, "plugin was compiled before"),
    }
}
