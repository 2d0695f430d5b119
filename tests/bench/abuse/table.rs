//! The table that people read.

use crate::Abuse;

pub(crate) const HEAD: &str = "\
abuse           p99 without   p99 under   ratio   failed of normal   memory   log lines   withstood
--------------  -----------  ----------  ------  -----------------  -------  ----------  ---------";

pub(crate) fn row(abuse: &Abuse) -> String {
    let Abuse { name, without, under, ratio, memory_bytes, log_lines, .. } = abuse;
    let failed = format!("{} of {}", under.failed(), under.requests);
    let withstood = if abuse.is_withstood() { "yes" } else { "NO" };
    format!(
        "{name:<14}  {:>8.2} ms  {:>7.2} ms  {ratio:>6.1}  {failed:>17}  {:>3} MiB  {log_lines:>10}  {withstood:>9}",
        without.p99_ms,
        under.p99_ms,
        memory_bytes >> 20,
    )
}
