//! TLS towards servers outside. Their certificates are always verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::destination::Host;
use super::error::Error;

/// Why the connector cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of certificate authorities cannot be read.
    #[error("the certificate authorities of {} cannot be used: {problem}", .file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The library for cryptography does not do what TLS needs.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Has libraries that choose no cryptography of their own use the one of this program.
pub fn provide_cryptography() {
    // Where it is there already, it is the same.
    let _ = ring::default_provider().install_default();
}

/// Trusts the authorities of the platform, and those of a PEM file.
///
/// # Errors
/// [`SetupError`] if the file has not at least one that can be used.
pub(super) fn connector(file: Option<&Path>) -> Result<TlsConnector, SetupError> {
    let mut roots = RootCertStore::empty();
    let platform = rustls_native_certs::load_native_certs();
    for problem in platform.errors {
        tracing::warn!("some of this machine's certificate authorities cannot be read: {problem}");
    }
    roots.add_parsable_certificates(platform.certs);
    if let Some(file) = file {
        add(&mut roots, file).map_err(|problem| SetupError::Authorities { file: file.into(), problem })?;
    }
    if roots.is_empty() {
        tracing::warn!(
            "this machine has no certificate authorities, so that no server outside is trusted; install them \
             (Debian: ca-certificates), or name some with --outbound-ca-file"
        );
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let certificates: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<_, _>>);
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".into());
    }
    for certificate in certificates {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The name that a server's certificate has to be for.
pub(super) fn server_name(host: &Host) -> Result<ServerName<'static>, Error> {
    match host {
        Host::Address(address) => Ok((*address).into()),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| Error::BadUrl("its host is not a name that TLS knows"))
        }
    }
}
