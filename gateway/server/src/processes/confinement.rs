//! What the gateway keeps when the kernel takes everything else: the paths that its settings and its policy name.
//!
//! The list is made once, at the start. A later policy that names files elsewhere finds them out of reach, and is not
//! taken; `--confine-read` grants a folder beforehand.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use policy::{Auth, Policy, Provider, SecretRef, Target};
use seal::escapes::Context;
use seal::{Access, Device, Presence, Rules};

use crate::cli::Serve;
use crate::command::CommandError;
use crate::{policy_files, signed};

/// Has the kernel take every way out from this process, for good. Returns what to aim at when that is tried.
pub(crate) fn begin(settings: &Serve, policy: &Policy) -> Result<Context, CommandError> {
    // Folders that are to be written have to be there before, and a connection to try things on has to be open.
    for folder in own_folders(settings) {
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let context = Context {
        connected: loopback().ok(),
        processes: vec![std::os::unix::process::parent_id()],
        name: Some("localhost".to_owned()),
        ..Context::default()
    };
    // One wall more, where the system lets us build it.
    let own_network = seal::own_network();
    let applied = seal::confine(&rules(settings, policy)).map_err(|error| {
        format!("{error}; --confine off runs without confinement, in one process that may open connections")
    })?;
    let absent: Vec<_> = applied.absent.iter().map(|path| path.display().to_string()).collect();
    tracing::info!(
        landlock = applied.landlock,
        own_network,
        "confined: the kernel lets this process open no connection"
    );
    tracing::debug!(?absent, "paths that were granted and are not there");
    Ok(context)
}

/// Makes a connection of this process to itself.
fn loopback() -> std::io::Result<OwnedFd> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    // tidy: allow(socket) because the seal is tried on a connection of the process to itself, made before it is sealed
    let near = std::net::TcpStream::connect(listener.local_addr()?)?;
    listener.accept()?;
    Ok(near.into())
}

fn rules(settings: &Serve, policy: &Policy) -> Rules {
    let base = policy_files::folder(&settings.routes);
    let named = settings_files(settings).chain(policy_files(policy).map(|path| base.join(path)));
    // The folder, not the file: a file that is replaced by renaming another one over it is another one.
    let folders = named.filter_map(|file| file.parent().map(folder)).chain([folder(base)]);
    // The build for GPUs will need the driver's devices, and says so here.
    let rules = own_folders(settings).into_iter().fold(Rules::new(Device::Cpu), Rules::writing);
    let rules = folders.fold(rules, |rules, path| rules.and(path, Access::Read, Presence::Optional));
    let models = models(policy).map(|path| base.join(path));
    let granted = models.chain(settings.confine_read.iter().cloned());
    granted.fold(rules, |rules, path| rules.and(path, Access::Read, Presence::Optional))
}

/// What the gateway writes. The broker's trail lies beside them, and out of reach.
fn own_folders(settings: &Serve) -> [PathBuf; 2] {
    ["audit", signed::STATE_FOLDER].map(|name| settings.data_dir.join(name))
}

fn folder(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

fn settings_files(settings: &Serve) -> impl Iterator<Item = PathBuf> {
    let files = [
        &settings.revocations,
        &settings.policy_keys,
        &settings.ca_file,
        &settings.admin_token_file,
        &settings.metrics_token_file,
    ];
    files.into_iter().flatten().cloned()
}

/// Secrets and certificates.
fn policy_files(policy: &Policy) -> impl Iterator<Item = PathBuf> {
    policy.providers().flat_map(|provider| {
        let Provider::Http(destination) = provider else { return Vec::new() };
        let mut files = secret_files(destination.auth());
        let tls = destination.tls();
        files.extend(tls.ca_file.clone());
        if let Some(shown) = &tls.client_cert {
            files.extend([shown.cert_file.clone(), shown.key_file.clone()]);
        }
        files
    })
}

fn secret_files(auth: &Auth) -> Vec<PathBuf> {
    let references: Vec<&SecretRef> = match auth {
        Auth::None => Vec::new(),
        Auth::Bearer(secret) | Auth::Google(secret) => vec![secret],
        Auth::Headers(headers) => headers.iter().map(|(_, secret)| secret).collect(),
        Auth::SigV4(keys) => {
            let keys = [Some(keys.access_key_id()), Some(keys.secret_access_key()), keys.session_token()];
            keys.into_iter().flatten().collect()
        }
    };
    let file = |secret: &SecretRef| match secret {
        SecretRef::File(path) => Some(path.clone()),
        SecretRef::Env(_) => None,
    };
    references.into_iter().filter_map(file).collect()
}

fn models(policy: &Policy) -> impl Iterator<Item = &Path> {
    policy.models().filter_map(|model| match model.target() {
        Target::Engine(target) => Some(target.path()),
        Target::Http(_) => None,
    })
}
