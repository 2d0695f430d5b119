//! API keys: who asks, what they may do, and how much of it a minute.
//!
//! Without any `[[key]]` table everybody may do everything. With one, a request
//! is let in by its key before its body is read, and its texts are counted
//! before anything is spent on them.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use serde::{Deserialize, Serialize};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tokio::time::Instant;

use self::key::Key;
use self::strangers::{Stranger, Strangers};
use super::error::ApiError;
use super::route::Route;
use crate::embed::Lane;

mod caller;
mod counts;
mod key;
mod quota;
mod right;
mod secret;
mod sent;
mod strangers;

pub(super) use self::caller::Caller;
pub(super) use self::key::Usage;
pub(super) use self::quota::Quota;
pub use self::right::Right;
pub use self::secret::{HashError, KeyHash, NoRandomness, Secret, WrittenHash};
pub(super) use self::sent::hide;

/// Bytes of a key that are looked at; nobody's key is longer.
const MAX_LENGTH: usize = 1024;

/// A `[[key]]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// What logs, metrics and errors call it.
    pub name: String,
    /// The SHA-256 of the key. Shown shortened: what is shown cannot be read again.
    pub sha256: WrittenHash,
    #[serde(default = "usual_rights")]
    pub rights: Vec<Right>,
    /// The lane of its requests: `bulk` for all of them, `interactive` for those that name none.
    /// Where absent, the number of texts decides.
    #[serde(default)]
    pub lane: Option<Lane>,
    /// No limit where absent.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// No limit where absent.
    #[serde(default)]
    pub texts_per_minute: Option<u32>,
}

fn usual_rights() -> Vec<Right> {
    vec![Right::Embed]
}

impl KeyConfig {
    /// Bytes in a name, at most.
    pub const MAX_NAME: usize = 64;

    /// Whether `name` may stand in logs and labels: letters, digits and any of `-_.@`.
    pub fn is_name(name: &str) -> bool {
        (1..=Self::MAX_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
    }
}

/// All keys that are known here.
pub(super) struct Keys {
    known: Vec<Arc<Key>>,
    strangers: Strangers,
}

impl Keys {
    /// # Errors
    /// Names the key whose hash is none, and says what is wrong with it.
    pub(super) fn new(tables: &[KeyConfig]) -> Result<Self, (String, HashError)> {
        let epoch = Instant::now();
        let key = |table: &KeyConfig| match table.sha256.parse() {
            Ok(hash) => Ok(Arc::new(Key::new(table, hash, epoch))),
            Err(error) => Err((table.name.clone(), error)),
        };
        let known = tables.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { known, strangers: Strangers::new(epoch) })
    }

    pub(super) fn are_asked(&self) -> bool {
        !self.known.is_empty()
    }

    /// Finds out who asks.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Caller {
        if !self.are_asked() {
            return Caller::Anyone;
        }
        let mut stranger = Stranger::NoKey;
        for key in sent::keys(headers) {
            stranger = Stranger::WrongKey;
            if let Some(known) = self.find(key) {
                return Caller::Known(known.clone());
            }
        }
        Caller::Stranger(stranger)
    }

    /// Lets `caller` go where `route` leads, as one of its requests.
    ///
    /// # Errors
    /// Says which key, right or time is missing.
    pub(super) fn let_in(&self, caller: &Caller, route: Route, peer: SocketAddr) -> Result<(), ApiError> {
        let Some(need) = right::of_route(route) else { return Ok(()) };
        let now = Instant::now();
        if let Caller::Stranger(stranger) = caller {
            self.strangers.note(*stranger, peer, now);
        }
        caller.let_in(need, now)
    }

    /// What was done with each key, in the order of the configuration.
    pub(super) fn usage(&self) -> impl Iterator<Item = Usage<'_>> {
        self.known.iter().map(|key| key.usage())
    }

    /// Looks at every key, found or not, so that the time it takes tells nothing.
    fn find(&self, sent: &[u8]) -> Option<&Arc<Key>> {
        if MAX_LENGTH < sent.len() {
            return None;
        }
        let hash = KeyHash::of(sent);
        let mut found = u32::MAX;
        for (at, key) in (0..).zip(&self.known) {
            found.conditional_assign(&at, key.hash.ct_eq(&hash));
        }
        self.known.get(usize::try_from(found).ok()?)
    }
}

/// What whoever configured this listener should know of it, before strangers do.
pub(super) fn exposure(listen: SocketAddr, keys: &Keys, encrypted: bool) -> Option<&'static str> {
    if listen.ip().to_canonical().is_loopback() {
        None
    } else if !keys.are_asked() {
        Some("whoever reaches this address may use it: add [[key]] tables, or listen on 127.0.0.1")
    } else if !encrypted {
        Some("API keys travel unencrypted to this address: let only a proxy with TLS reach it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> Keys {
        let table = |secret: &&str| {
            let hash = KeyHash::of(secret.as_bytes()).to_hex();
            toml::from_str(&format!("name = \"of-{secret}\"\nsha256 = \"{hash}\"")).unwrap()
        };
        Keys::new(&secrets.iter().map(table).collect::<Vec<_>>()).unwrap()
    }

    /// Whose key it is; nothing where it is nobody's.
    #[track_caller]
    fn check(known: &[&str], sent: &[(&'static str, &str)], want: Option<&str>) {
        let headers =
            sent.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        assert_eq!(keys(known).caller(&headers).name().as_deref(), want);
    }

    #[test]
    fn every_key_is_known_by_its_hash() {
        let known = ["a", "b", "c"];
        check(&known, &[("authorization", "Bearer a")], Some("of-a"));
        check(&known, &[("x-api-key", "c")], Some("of-c"));
        check(&known, &[("authorization", "Bearer ollama"), ("x-api-key", "b")], Some("of-b"));
    }

    #[test]
    fn other_keys_are_not() {
        let long = "a".repeat(MAX_LENGTH + 1);
        for sent in ["A", "aa", &KeyHash::of(b"a").to_hex(), &long] {
            check(&["a", &long], &[("x-api-key", sent)], None);
        }
        check(&["a"], &[], None);
    }

    #[test]
    fn without_keys_nobody_is_asked() {
        assert!(matches!(keys(&[]).caller(&HeaderMap::new()), Caller::Anyone));
    }

    #[track_caller]
    fn check_exposure(listen: &str, known: &[&str], encrypted: bool, want: Option<&str>) {
        let said = exposure(listen.parse().unwrap(), &keys(known), encrypted);
        assert_eq!(said.is_some(), want.is_some(), "{said:?}");
        assert!(said.unwrap_or_default().contains(want.unwrap_or_default()), "{said:?}");
    }

    #[test]
    fn an_address_that_others_reach_wants_keys_and_those_want_tls() {
        check_exposure("0.0.0.0:80", &[], false, Some("[[key]]"));
        check_exposure("10.0.0.1:80", &[], true, Some("[[key]]"));
        check_exposure("[::]:80", &["a"], false, Some("unencrypted"));
        check_exposure("0.0.0.0:80", &["a"], true, None);
        for address in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            check_exposure(address, &[], false, None);
            check_exposure(address, &["a"], false, None);
        }
    }

    #[test]
    fn a_name_is_a_label() {
        assert!(KeyConfig::is_name("team-a_1.notes@host"));
        for name in ["", "two words", "line\nbreak", "ü", &"a".repeat(65)] {
            assert!(!KeyConfig::is_name(name), "{name}");
        }
    }
}
