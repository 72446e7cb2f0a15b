//! The way to a server: directly or through a proxy, with TLS that is always verified.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use super::Body;
use crate::failure::{Failure, Result};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Connections to one server, kept while they are in use.
pub(super) enum Http {
    Direct(Box<Client<HttpsConnector<HttpConnector>, Body>>),
    Proxied { proxy: String, client: Box<Client<HttpsConnector<Tunnel<HttpConnector>>, Body>> },
}

impl Http {
    /// Towards `base`, through the proxy that the environment names for it. A server on this machine needs none.
    pub(super) fn new(base: &Url, ca_file: Option<&Path>) -> Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls(base, ca_file)?).https_or_http().enable_http1();
        let clients = Client::builder(TokioExecutor::new());
        let uri: Option<Uri> = base.as_str().parse().ok();
        let proxy = uri.filter(|_| !is_loopback(base)).and_then(|uri| Matcher::from_env().intercept(&uri));
        let Some(proxy) = proxy else {
            return Ok(Self::Direct(Box::new(clients.build(tls.wrap_connector(connector)))));
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let name = proxy.uri().authority().map_or_else(String::new, ToString::to_string);
        let name = name.rsplit('@').next().unwrap_or_default().to_owned();
        Ok(Self::Proxied { proxy: name, client: Box::new(clients.build(tls.wrap_connector(tunnel))) })
    }

    pub(super) async fn send(&self, request: Request<Body>) -> std::result::Result<Response<Incoming>, Error> {
        match self {
            Self::Direct(client) => client.request(request).await,
            Self::Proxied { client, .. } => client.request(request).await,
        }
    }

    pub(super) fn proxy(&self) -> Option<&str> {
        match self {
            Self::Direct(_) => None,
            Self::Proxied { proxy, .. } => Some(proxy),
        }
    }
}

/// Whether a server is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Trusts this machine's authorities, and those of a file. Without TLS none are looked for, which saves time.
fn tls(base: &Url, ca_file: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if base.scheme() == "https" {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = ca_file {
            add(&mut roots, file)?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::usage(format!("TLS cannot be set up: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<()> {
    let unusable = |problem: &str| {
        Failure::usage(format!("the certificate authorities in {} cannot be used: {problem}", file.display()))
    };
    let found = CertificateDer::pem_file_iter(file).map_err(|error| match error {
        pem::Error::Io(error) => Failure::file("read", file, &error),
        error => unusable(&error.to_string()),
    })?;
    let mut is_empty = true;
    for certificate in found {
        let certificate = certificate.map_err(|error| unusable(&error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(&error.to_string()))?;
        is_empty = false;
    }
    if is_empty { Err(unusable("there is no certificate in it")) } else { Ok(()) }
}
