//! How one upstream stands with one model.

use std::mem::discriminant;
use std::time::SystemTime;

/// Whether an upstream takes texts of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has asked it yet.
    #[default]
    Unasked,
    TakesPart,
    StandsBy {
        reason: String,
    },
}

/// What an upstream said last of a model, and what followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Stand {
    pub(super) identity: Option<String>,
    pub(super) standing: Standing,
    /// Nothing before it was asked. Another reason to stand by is no beginning.
    pub(super) since: Option<SystemTime>,
}

impl Stand {
    /// What it said before stays where it says nothing now.
    pub(super) fn becomes(&mut self, identity: Option<String>, standing: Standing) {
        if discriminant(&self.standing) != discriminant(&standing) {
            self.since = Some(SystemTime::now());
        }
        self.identity = identity.or(self.identity.take());
        self.standing = standing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_goes_on_standing_by_does_so_since_it_began() {
        let stands_by = |reason: &str| Standing::StandsBy { reason: reason.into() };
        let mut stand = Stand::default();
        stand.becomes(Some("a".into()), stands_by("gone"));
        let long_ago = Some(SystemTime::UNIX_EPOCH);
        assert!(long_ago < stand.since);
        stand.since = long_ago;
        stand.becomes(None, stands_by("still gone"));
        assert_eq!((stand.since, stand.identity.as_deref()), (long_ago, Some("a")));
        assert_eq!(stand.standing, stands_by("still gone"));
        stand.becomes(Some("b".into()), Standing::TakesPart);
        assert!(long_ago < stand.since && stand.identity.as_deref() == Some("b"));
    }
}
