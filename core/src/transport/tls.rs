//! What TLS is made of: ring, and the roots of the system, of the options, or the bundled ones where the system has none.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::NetworkOptions;
use crate::error::{Error, ErrorKind, Result};

pub(super) fn config(options: &NetworkOptions) -> Result<ClientConfig> {
    let extra = options.root_certificates.iter().map(|pem| certificates(pem)).collect::<Result<Vec<_>>>()?.concat();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring serves TLS 1.2 and 1.3");
    let builder = verified(builder, extra)?;
    let mut config = match &options.client_certificate {
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes())
                .map_err(|_| bad("`client_certificate.private_key` holds no PEM key"))?;
            builder
                .with_client_auth_cert(certificates(&identity.certificates)?, key)
                .map_err(|error| bad("the client certificate and its key do not go together").with_source(error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = if options.http1_only {
        vec![b"http/1.1".to_vec()]
    } else if options.http2_only {
        vec![b"h2".to_vec()]
    } else {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    };
    Ok(config)
}

/// For plain `http`, where no certificate is ever looked at.
pub(super) fn without_roots() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring serves TLS 1.2 and 1.3")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

type Verified = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

/// The system decides whom to trust where it has a verifier of its own.
#[cfg(any(target_vendor = "apple", windows))]
fn verified(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>,
    extra: Vec<CertificateDer<'static>>,
) -> Result<Verified> {
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider())
        .map_err(|error| bad("the system's certificate verifier cannot be used").with_source(error))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

/// The system's roots, or the bundled ones where it has none (Android, bare containers).
#[cfg(not(any(target_vendor = "apple", windows)))]
#[allow(clippy::unnecessary_wraps)]
fn verified(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>,
    extra: Vec<CertificateDer<'static>>,
) -> Result<Verified> {
    let mut roots = RootCertStore::empty();
    #[cfg(not(target_os = "android"))]
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots.add_parsable_certificates(extra);
    Ok(builder.with_root_certificates(roots))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| bad("a certificate is not in PEM form"))?;
    if list.is_empty() { Err(bad("a certificate in PEM form was expected, and none found")) } else { Ok(list) }
}

fn bad(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}
