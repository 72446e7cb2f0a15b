//! The settings of the HTTP server.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use url::Url;

/// What the HTTP server takes, and for how long.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpSettings {
    /// File with the server's certificate and the intermediate certificates, in PEM: turns on TLS. It is read again
    /// when it changes.
    #[arg(long, env = "ELITA_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// File with the private key of the certificate, in PEM.
    #[arg(long, env = "ELITA_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Addresses and networks of proxies whose `X-Forwarded-For` is believed, separated by commas, such as
    /// `127.0.0.1,10.0.0.0/8`.
    #[arg(long, env = "ELITA_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Origins of web pages that may use the API from browsers, separated by commas, such as
    /// `https://console.example.org`; `*` is any.
    #[arg(long = "http-cors-origins", env = "ELITA_HTTP_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',',
          value_parser = origin)]
    pub cors_origins: Vec<String>,
    /// Client connections at the same time; further ones wait.
    #[arg(long = "http-connections", env = "ELITA_HTTP_CONNECTIONS", default_value_t = 2_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Requests at the same time, including event streams; further ones are refused.
    #[arg(long = "http-requests", env = "ELITA_HTTP_REQUESTS", default_value_t = 4_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub requests: u32,
    /// Memory for all replies that clients have not read yet, in MiB; further long replies are refused.
    #[arg(long = "http-reply-mib", env = "ELITA_HTTP_REPLY_MIB", default_value_t = 256, value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub reply_mib: u32,
    /// How long a TLS handshake may take, and how long the head of a request, in seconds.
    #[arg(long = "http-head-seconds", env = "ELITA_HTTP_HEAD_SECONDS", default_value_t = 10, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub head_seconds: u64,
    /// How long the body of a request may take, in seconds.
    #[arg(long = "http-body-seconds", env = "ELITA_HTTP_BODY_SECONDS", default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub body_seconds: u64,
    /// How long a connection may have no request, or a reply that its client does not read, in seconds.
    #[arg(long = "http-idle-seconds", env = "ELITA_HTTP_IDLE_SECONDS", default_value_t = 60, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub idle_seconds: u64,
}

impl HttpSettings {
    /// The files of the certificate and of its key, if TLS is turned on.
    ///
    /// # Errors
    /// If one of them is there without the other.
    pub fn tls_files(&self) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some((cert.clone(), key.clone()))),
            (None, None) => Ok(None),
            (Some(_), None) => anyhow::bail!("--tls-cert needs --tls-key, the private key of the certificate"),
            (None, Some(_)) => anyhow::bail!("--tls-key needs --tls-cert, the certificate of the private key"),
        }
    }
}

/// Where web pages come from, as browsers write it.
fn origin(text: &str) -> Result<String, String> {
    let is_origin = |url: Url| url.has_host() && url.origin().ascii_serialization() == text;
    if text == "*" || text.parse().is_ok_and(is_origin) {
        return Ok(text.to_owned());
    }
    Err("a scheme and a host are needed, such as https://console.example.org, without a path or a slash".into())
}

/// An address is a network of its own.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
    network.map_err(|_| "an address, or a network such as 10.0.0.0/8, is needed".into())
}
