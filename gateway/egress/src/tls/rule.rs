//! What a policy asks of TLS; stands here until the policy says it.

use std::path::PathBuf;

#[derive(Debug, Clone, Default)]
pub(crate) struct TlsRule {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) roots: Roots,
    pub(crate) pins: Vec<[u8; 32]>,
    pub(crate) client_cert: Option<ClientCert>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Roots {
    #[default]
    Public,
    FileAlone,
}

#[derive(Debug, Clone)]
pub(crate) struct ClientCert {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
}
