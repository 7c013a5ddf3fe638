//! A certificate authority that lives as long as the mock: the server's certificate, and one for clients to show.

use std::io::{Error, Result};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::server::{Options, Protocol};

pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    ca_pem: String,
    client_pem: String,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let (authority, ca_pem, root) = authority()?;
        let (leaf, key) = issued(&authority, "mock server", ExtendedKeyUsagePurpose::ServerAuth)?;
        let (client, client_key) = issued(&authority, "mock client", ExtendedKeyUsagePurpose::ClientAuth)?;

        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::other)?;
        let config = if options.client_certificates {
            let mut roots = RootCertStore::empty();
            roots.add(root).map_err(Error::other)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(Error::other)?;
            config.with_client_cert_verifier(verifier)
        } else {
            config.with_no_client_auth()
        };
        let key_der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = config.with_single_cert(vec![leaf.der().clone()], key_der).map_err(Error::other)?;
        config.alpn_protocols = match options.protocol {
            Protocol::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem, client_pem: client.pem() + &client_key.serialize_pem() })
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Certificate and key.
    pub(crate) fn client_pem(&self) -> &str {
        &self.client_pem
    }
}

type Root = tokio_rustls::rustls::pki_types::CertificateDer<'static>;

fn authority() -> Result<(Issuer<'static, KeyPair>, String, Root)> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "literllm mock authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().map_err(Error::other)?;
    let certificate = params.self_signed(&key).map_err(Error::other)?;
    let (pem, root) = (certificate.pem(), certificate.der().clone());
    Ok((Issuer::new(params, key), pem, root))
}

fn issued(
    authority: &Issuer<'_, KeyPair>,
    name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<(rcgen::Certificate, KeyPair)> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).map_err(Error::other)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(Error::other)?;
    let certificate = params.signed_by(&key, authority).map_err(Error::other)?;
    Ok((certificate, key))
}
