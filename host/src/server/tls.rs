//! TLS: a certificate and its key, read again whenever their files change.
//!
//! Connections under way keep the certificate that they began with. Files are
//! compared by content, so that symbolic links which are swapped, as orchestrators
//! do, count as a change like any other.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

mod validity;

/// The protocols that are offered, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The `[server.tls]` and `[admin.tls]` tables.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file with the certificate, and those between it and a known authority.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key.
    pub key: PathBuf,
    /// How often both files are looked at for a change.
    #[serde(with = "humantime_serde", default = "reload_every")]
    pub reload_every: Duration,
}

fn reload_every() -> Duration {
    Duration::from_secs(30)
}

/// Why there can be no TLS with what the files hold.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` has no {what} in PEM form: write one that begins with `-----BEGIN {begins}-----`", path.display())]
    Missing { path: PathBuf, what: &'static str, begins: &'static str },
    #[error("`{}` has a private key and no certificate: are `certificate` and `key` swapped?", path.display())]
    Swapped { path: PathBuf },
    #[error("`{}` is broken PEM: {reason}", path.display())]
    Pem { path: PathBuf, reason: String },
    #[error("the key in `{}` is of no kind that can be used: {reason}", path.display())]
    Key { path: PathBuf, reason: String },
    #[error("the certificate in `{}` cannot be used: {reason}", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error(
        "the key in `{}` does not belong to the first certificate in `{}`: name a pair, and put the server's own certificate first",
        key.display(),
        certificate.display()
    )]
    Pair { certificate: PathBuf, key: PathBuf },
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// Speaks TLS with whoever connects, by the certificate of the moment.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    config: TlsConfig,
}

struct Current(ArcSwap<Pair>);

/// What was read last, and what came of it.
struct Pair {
    files: Files,
    certified: Arc<CertifiedKey>,
}

/// The bytes of both files.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub(super) fn new(config: TlsConfig) -> Result<Self, TlsError> {
        let pair = Pair::new(Files::read(&config)?, &config)?;
        warn_if_open(&config.key);
        tell(&config, &pair, "serving over TLS");
        let current = Arc::new(Current(ArcSwap::from_pointee(pair)));
        // Which library computes is said, and not left to what happens to be installed.
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), current, config })
    }

    /// The handshake of one connection. A client that cannot do it is told why by an alert.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Looks at the files again and again, and goes over to what they hold where it is sound.
    pub(super) async fn reload_until(self, stop: CancellationToken) {
        let mut refused = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.config.reload_every) => {}
            }
            let tls = self.clone();
            let reloaded = tokio::task::spawn_blocking(move || tls.reload(refused)).await;
            // A panic there would leave the certificate as it is; the next look may do better.
            refused = reloaded.unwrap_or_default();
        }
    }

    /// Takes what the files hold now. Returns what was refused, so that it is told once.
    fn reload(&self, refused: Option<Refused>) -> Option<Refused> {
        let files = match Files::read(&self.config) {
            Ok(files) if files == self.current.0.load().files => return None,
            Ok(files) => files,
            Err(error) => return Some(Refused::told(refused, None, &error)),
        };
        if refused.as_ref().is_some_and(|refused| refused.files.as_ref() == Some(&files)) {
            return refused;
        }
        match Pair::new(files.clone(), &self.config) {
            Ok(pair) => {
                tell(&self.config, &pair, "going over to a new certificate");
                self.current.0.store(Arc::new(pair));
                None
            }
            Err(error) => Some(Refused::told(refused, Some(files), &error)),
        }
    }
}

/// What was found instead of a sound pair.
struct Refused {
    files: Option<Files>,
    why: String,
}

impl Refused {
    /// Logs `error`, unless it was the last thing that was logged.
    fn told(before: Option<Self>, files: Option<Files>, error: &TlsError) -> Self {
        let why = error.to_string();
        if before.is_none_or(|before| before.why != why || before.files != files) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "a changed certificate is not used, and the old one is kept");
        }
        Self { files, why }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl Files {
    fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
        };
        Ok(Self { certificate: read(&config.certificate)?, key: read(&config.key)? })
    }
}

impl Pair {
    fn new(files: Files, config: &TlsConfig) -> Result<Self, TlsError> {
        let chain = chain(&files.certificate, &config.certificate)?;
        let key = key(&files.key, &config.key)?;
        let provider: CryptoProvider = ring::default_provider();
        let unusable =
            |error: rustls::Error| TlsError::Key { path: config.key.clone(), reason: error.to_string() };
        let signing = provider.key_provider.load_private_key(key).map_err(unusable)?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => Ok(Self { files, certified: Arc::new(certified) }),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(TlsError::Pair { certificate: config.certificate.clone(), key: config.key.clone() })
            }
            Err(error) => {
                Err(TlsError::Certificate { path: config.certificate.clone(), reason: error.to_string() })
            }
        }
    }
}

fn chain(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let broken = |error: rustls::pki_types::pem::Error| TlsError::Pem {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(broken)?;
    if chain.is_empty() {
        let path = path.to_owned();
        if PrivateKeyDer::from_pem_slice(pem).is_ok() {
            return Err(TlsError::Swapped { path });
        }
        return Err(TlsError::Missing { path, what: "certificate", begins: "CERTIFICATE" });
    }
    Ok(chain)
}

fn key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            TlsError::Missing { path: path.to_owned(), what: "private key", begins: "PRIVATE KEY" }
        }
        error => TlsError::Pem { path: path.to_owned(), reason: error.to_string() },
    })
}

/// Logs until when the certificate is good, and whether it is good at all.
fn tell(config: &TlsConfig, pair: &Pair, message: &str) {
    let certificate = config.certificate.display().to_string();
    let until = pair.certified.cert.first().and_then(|certificate| validity::not_after(certificate));
    match until {
        Some(until) if until.is_past() => {
            tracing::warn!(certificate, %until, "the certificate has run out: clients will refuse it");
        }
        Some(until) => tracing::info!(certificate, %until, "{message}"),
        None => tracing::info!(certificate, "{message}"),
    }
}

/// Everybody who can read the key can be this server.
#[cfg(unix)]
fn warn_if_open(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS: u32 = 0o007;
    if std::fs::metadata(key).is_ok_and(|metadata| metadata.permissions().mode() & OTHERS != 0) {
        tracing::warn!(key = %key.display(), "every user of this machine may read the private key: chmod o= it");
    }
}

#[cfg(not(unix))]
fn warn_if_open(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_place_of_the_certificate_is_recognised() {
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let error = chain(pem.as_bytes(), Path::new("server.key")).unwrap_err().to_string();
        assert!(error.ends_with("are `certificate` and `key` swapped?"), "{error}");
        let error = chain(b"", Path::new("server.pem")).unwrap_err().to_string();
        assert!(error.contains("has no certificate"), "{error}");
    }
}
