//! TLS: the certificate and its key, read again when their files change. A pair that cannot be used leaves the one that
//! is in use, and the log says why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::{info, warn};

use crate::datasvc::Digest;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a certificate and a key cannot be used. Says nothing of what is in the key's file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The first file is not what it has to be.
    #[error("{} holds no certificates in PEM", path.display())]
    NoCertificate {
        /// Where it is.
        path: PathBuf,
    },
    /// The second file is not what it has to be.
    #[error("{} holds no private key in PEM, or one that is encrypted", path.display())]
    NoKey {
        /// Where it is.
        path: PathBuf,
    },
    /// They are not of each other, or of a kind that is not known.
    #[error("the certificate and the private key cannot be used together")]
    Unusable(#[source] rustls::Error),
}

/// The certificate and the key in use.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    in_use: Mutex<InUse>,
}

struct InUse {
    /// Of both files.
    digest: Digest,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn load(cert: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let pem = PemFiles::read(&cert, &key).await?;
        let in_use = InUse { digest: pem.digest(), config: pem.config(&cert, &key)? };
        Ok(Self { cert, key, in_use: Mutex::new(in_use) })
    }

    /// For the next connection.
    pub(in crate::rest) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.lock().config))
    }

    /// Looks at the files again and again, for ever.
    pub(in crate::rest) async fn keep_current(&self) {
        let mut told = None;
        loop {
            sleep(LOOK_EVERY).await;
            match self.look().await {
                Ok(true) => info!("the certificate in {} is in use from now on", self.cert.display()),
                Ok(false) => {}
                Err(problem) => {
                    // Once for each problem, not every second.
                    let problem = format!("{:#}", anyhow::Error::new(problem));
                    if told.as_ref() != Some(&problem) {
                        warn!("the certificate that is in use stays in use, because the new one cannot be: {problem}");
                        told = Some(problem);
                    }
                    continue;
                }
            }
            told = None;
        }
    }

    /// True if there is a new pair, which is in use now.
    async fn look(&self) -> Result<bool, TlsError> {
        let pem = PemFiles::read(&self.cert, &self.key).await?;
        let digest = pem.digest();
        if self.lock().digest == digest {
            return Ok(false);
        }
        let config = pem.config(&self.cert, &self.key)?;
        *self.lock() = InUse { digest, config };
        Ok(true)
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in the files.
struct PemFiles {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl PemFiles {
    async fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = async |path: &Path| {
            tokio::fs::read(path).await.map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
        };
        Ok(Self { cert: read(cert).await?, key: read(key).await? })
    }

    fn digest(&self) -> Digest {
        Digest::of(&[Digest::of(&self.cert).as_bytes(), Digest::of(&self.key).as_bytes()].concat())
    }

    fn config(&self, cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .ok()
            .filter(|chain: &Vec<_>| !chain.is_empty())
            .ok_or_else(|| TlsError::NoCertificate { path: cert.to_owned() })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey { path: key.to_owned() })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
