//! Handshakes in memory, with authorities of the test's own.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConnection, Error, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
};
use tempfile::TempDir;

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Returns what an authority is made of.
fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn root(name: &str) -> Issuer {
    Issuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key.
struct Pair {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Pair {
    /// Returns a certificate for `up.test`.
    fn of(issuer: &Issuer) -> Self {
        Self::with(issuer, &CertificateParams::new(vec!["up.test".to_owned()]).unwrap())
    }

    fn with(issuer: &Issuer, params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.signed_by(&key, issuer).unwrap().der().clone(), key }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

/// Returns the hash of a key, worked out from the key and not from a certificate.
fn pin(key: &KeyPair) -> [u8; 32] {
    digest(&SHA256, &key.subject_public_key_info()).as_ref().try_into().unwrap()
}

/// Returns roots that are one file's.
fn only(issuer: &Issuer) -> Roots {
    let folder = tempfile::tempdir().unwrap();
    Roots::file(&file(&folder, "ca.pem", &issuer.pem())).unwrap()
}

fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn pinned(pins: &[[u8; 32]]) -> TlsRule {
    TlsRule { pins: pins.to_vec(), ..TlsRule::default() }
}

/// Returns a server that shows `pair`, and `others` behind it.
fn server(pair: &Pair, others: &[&Issuer]) -> ServerConfig {
    let others = others.iter().map(|issuer| issuer.der().clone());
    let chain = std::iter::once(pair.certificate.clone()).chain(others).collect();
    server_builder().with_no_client_auth().with_single_cert(chain, pair.key()).unwrap()
}

fn server_builder() -> ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

/// Both ends of a connection after the handshake.
struct Met {
    client: ClientConnection,
    server: ServerConnection,
}

/// Shakes hands for `up.test`; fails with the first error of either side.
fn meet(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Met, Error> {
    let name = server_name(&Host::Domain("up.test".to_owned())).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut wire = Vec::new();
    // A few rounds more than a handshake takes, so that tickets and late refusals arrive too.
    for _ in 0..6 {
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        wire.clear();
        server.process_new_packets()?;
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        wire.clear();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Met { client, server })
}

fn config(roots: &Roots, rule: &TlsRule, base: &Path) -> Arc<ClientConfig> {
    Arc::new(roots.config_for(rule, base).unwrap())
}

/// Tries `rule` on a server, with `roots` to believe.
fn attempt(roots: &Roots, rule: &TlsRule, server: ServerConfig) -> Result<Met, Error> {
    meet(&config(roots, rule, Path::new("")), &Arc::new(server))
}

fn mismatch(error: Error) -> Option<PinMismatch> {
    PinMismatch::cause_of(&io::Error::new(io::ErrorKind::InvalidData, error))
}

#[test]
fn a_pinned_key_may_be_the_servers_or_that_of_any_authority_above_it() {
    let top = root("top");
    let middle = Issuer::signed_by(authority("middle"), KeyPair::generate().unwrap(), &top).unwrap();
    let pair = Pair::of(&middle);
    for pins in
        [vec![pin(&pair.key)], vec![pin(middle.key())], vec![pin(top.key())], vec![[0; 32], pin(&pair.key)]]
    {
        attempt(&only(&top), &pinned(&pins), server(&pair, &[&middle])).map(drop).unwrap();
    }
}

#[test]
fn another_key_is_refused_by_an_error_of_its_own() {
    let top = root("top");
    let pair = Pair::of(&top);
    let error = attempt(&only(&top), &pinned(&[[7; 32]]), server(&pair, &[])).err().unwrap();
    assert_eq!(mismatch(error), Some(PinMismatch { found: pin(&pair.key) }));
    let text = PinMismatch { found: [0; 32] }.to_string();
    assert!(text.ends_with("sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), "{text}");
}

#[test]
fn a_certificate_that_is_only_sent_along_certifies_nothing() {
    let (top, famous) = (root("top"), root("famous"));
    let pair = Pair::of(&top);
    let error = attempt(&only(&top), &pinned(&[pin(famous.key())]), server(&pair, &[&famous])).err().unwrap();
    assert!(mismatch(error).is_some());
}

#[test]
fn a_pin_replaces_no_check() {
    let (believed, stranger) = (root("believed"), root("stranger"));
    let pair = Pair::of(&stranger);
    for pins in [vec![], vec![pin(&pair.key)], vec![pin(stranger.key())]] {
        let error = attempt(&only(&believed), &pinned(&pins), server(&pair, &[&stranger])).err().unwrap();
        assert_eq!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer));
    }
}

#[test]
fn an_expired_or_misnamed_certificate_is_refused_with_and_without_its_pin() {
    let top = root("top");
    let mut expired = CertificateParams::new(vec!["up.test".to_owned()]).unwrap();
    expired.not_after = date_time_ymd(2020, 1, 1);
    let misnamed = CertificateParams::new(vec!["other.test".to_owned()]).unwrap();
    for params in [expired, misnamed] {
        let pair = Pair::with(&top, &params);
        for pins in [vec![], vec![pin(&pair.key)]] {
            let error = attempt(&only(&top), &pinned(&pins), server(&pair, &[])).err().unwrap();
            let Error::InvalidCertificate(why) = error else { panic!("{error:?}") };
            assert!(
                matches!(
                    why,
                    CertificateError::ExpiredContext { .. } | CertificateError::NotValidForNameContext { .. }
                ),
                "{why:?}"
            );
        }
    }
}

#[test]
fn a_file_adds_authorities_or_replaces_them() {
    let (known, own) = (root("known"), root("own"));
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "own.pem", &own.pem());
    for (roots, believed) in [(Trust::Public, [true, true]), (Trust::FileAlone, [false, true])] {
        let rule = TlsRule { ca_file: Some("own.pem".into()), roots, ..TlsRule::default() };
        let client = config(&only(&known), &rule, folder.path());
        let tried =
            [&known, &own].map(|issuer| meet(&client, &Arc::new(server(&Pair::of(issuer), &[]))).is_ok());
        assert_eq!(tried, believed);
    }
    let nobody = TlsRule { roots: Trust::FileAlone, ..TlsRule::default() };
    assert!(matches!(only(&known).config_for(&nobody, folder.path()), Err(TlsError::NoRoots)));
}

/// Returns a server that wants a certificate of `issuer`'s from its clients.
fn asking(pair: &Pair, issuer: &Issuer) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let builder = server_builder().with_client_cert_verifier(verifier);
    Arc::new(builder.with_single_cert(vec![pair.certificate.clone()], pair.key()).unwrap())
}

fn client_cert(certificate: &str, key: &str) -> TlsRule {
    let files = ClientCert { cert_file: certificate.into(), key_file: key.into() };
    TlsRule { client_cert: Some(files), ..TlsRule::default() }
}

/// Writes a certificate and its key as `client.pem` and `client.key`.
fn write_pair(folder: &TempDir, issuer: &Issuer) -> Pair {
    let pair = Pair::with(issuer, &CertificateParams::new(vec!["gateway.test".to_owned()]).unwrap());
    let params = CertificateParams::new(vec!["gateway.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&pair.key, issuer).unwrap();
    file(folder, "client.pem", &certificate.pem());
    file(folder, "client.key", &pair.key.serialize_pem());
    Pair { certificate: certificate.der().clone(), key: pair.key }
}

#[test]
fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let (top, company) = (root("top"), root("company"));
    let folder = tempfile::tempdir().unwrap();
    let shown = write_pair(&folder, &company);
    let client = config(&only(&top), &client_cert("client.pem", "client.key"), folder.path());
    let met = meet(&client, &asking(&Pair::of(&top), &company)).unwrap();
    assert_eq!(met.server.peer_certificates().unwrap(), [shown.certificate]);
    let met = meet(&client, &Arc::new(server(&Pair::of(&top), &[]))).unwrap();
    assert!(met.server.peer_certificates().is_none(), "nobody asked");
}

#[test]
fn without_a_client_certificate_a_server_that_asks_refuses() {
    let (top, company) = (root("top"), root("company"));
    let asking = asking(&Pair::of(&top), &company);
    let error = meet(&config(&only(&top), &TlsRule::default(), Path::new("")), &asking).err().unwrap();
    assert_eq!(error, Error::NoCertificatesPresented);

    let folder = tempfile::tempdir().unwrap();
    write_pair(&folder, &root("stranger"));
    let client = config(&only(&top), &client_cert("client.pem", "client.key"), folder.path());
    assert!(meet(&client, &asking).is_err());
}

#[test]
fn files_of_a_client_certificate_that_cannot_be_used_are_named_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(&folder, &root("company"));
    file(&folder, "other.key", &KeyPair::generate().unwrap().serialize_pem());
    file(&folder, "torn.key", "-----BEGIN PRIVATE KEY-----\ncanary\n");
    file(
        &folder,
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    file(&folder, "empty.pem", "");
    let roots = Roots::public();
    for (certificate, key, expected) in [
        ("none.pem", "client.key", "cannot read the client certificate from DIR/none.pem"),
        ("empty.pem", "client.key", "cannot read the client certificate from DIR/empty.pem"),
        ("client.pem", "none.key", "cannot read the private key from DIR/none.key"),
        (
            "client.pem",
            "torn.key",
            "DIR/torn.key holds no private key in PEM without a passphrase (PKCS#8, PKCS#1 or SEC1)",
        ),
        (
            "client.pem",
            "locked.key",
            "DIR/locked.key holds no private key in PEM without a passphrase (PKCS#8, PKCS#1 or SEC1)",
        ),
        (
            "client.pem",
            "client.pem",
            "DIR/client.pem holds no private key in PEM without a passphrase (PKCS#8, PKCS#1 or SEC1)",
        ),
        (
            "client.pem",
            "other.key",
            "the certificate in DIR/client.pem cannot be used with the key in DIR/other.key",
        ),
    ] {
        let error = roots.config_for(&client_cert(certificate, key), folder.path()).err().unwrap();
        let text = error.to_string().replace(&*folder.path().to_string_lossy(), "DIR");
        assert_eq!(text, expected);
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn a_session_is_resumed_within_its_own_configuration_only() {
    let top = root("top");
    let pair = Pair::of(&top);
    let server = Arc::new(server(&pair, &[]));
    let roots = only(&top);
    let pinned = pinned(&[pin(&pair.key)]);
    let configs =
        [&TlsRule::default(), &pinned, &TlsRule::default()].map(|rule| config(&roots, rule, Path::new("")));
    for config in &configs {
        let kinds = [(); 2].map(|()| meet(config, &server).unwrap().client.handshake_kind().unwrap());
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    }
    let proxy = roots.proxy_config().unwrap();
    for _ in 0..2 {
        let kind = meet(&proxy, &server).unwrap().client.handshake_kind().unwrap();
        assert_eq!(kind, HandshakeKind::Full, "no tunnel is told from another by its ticket");
    }
}

#[test]
fn nothing_is_sent_early() {
    let roots = Roots::public();
    for config in [config(&roots, &TlsRule::default(), Path::new("")), roots.proxy_config().unwrap()] {
        assert!(!config.enable_early_data && config.enable_sni);
    }
}

#[test]
fn a_certificate_is_described_for_the_record_also_after_a_resumption() {
    let top = root("Example CA");
    let pair = Pair::of(&top);
    let server = Arc::new(server(&pair, &[]));
    let client = config(&only(&top), &TlsRule::default(), Path::new(""));
    for _ in 0..2 {
        let described = leaf(&meet(&client, &server).unwrap().client).unwrap();
        assert_eq!(described, Leaf { issuer: "CN=Example CA".to_owned(), spki_sha256: pin(&pair.key) });
    }
    let name = server_name(&Host::Domain("up.test".to_owned())).unwrap();
    let before = ClientConnection::new(client, name).unwrap();
    assert_eq!(leaf(&before), None);
}

#[test]
fn hosts_have_the_names_that_certificates_use() {
    for (host, expected) in [("up.test", "up.test"), ("10.0.0.7", "10.0.0.7"), ("[::1]", "::1")] {
        assert_eq!(server_name(&Host::parse(host).unwrap()).unwrap().to_str(), expected);
    }
    let error = server_name(&Host::Domain("a..b".to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "no certificate can be for the host a..b");
}
