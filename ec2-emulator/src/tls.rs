//! HTTPS, with a certificate that somebody else made.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read, or is not PEM.
    #[error("{}: {}", .0.display(), .1)]
    Pem(PathBuf, pem::Error),
    /// The chain and the key do not go together.
    #[error("{}: {}", .0.display(), .1)]
    Refused(PathBuf, rustls::Error),
}

/// What the emulator shows to clients that connect over TLS.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its key.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, is not PEM, or they do not go together.
    pub fn from_pem_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let not_pem = |file: &Path, error| TlsError::Pem(file.to_owned(), error);
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| not_pem(chain, error))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| not_pem(key, error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config
                    .with_no_client_auth()
                    .with_single_cert(certificates, private)
            })
            .map_err(|error| TlsError::Refused(chain.to_owned(), error))?;
        Ok(Self(Arc::new(config).into()))
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

pub(crate) fn tcp(stream: &TlsStream<TcpStream>) -> &TcpStream {
    stream.get_ref().0
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
