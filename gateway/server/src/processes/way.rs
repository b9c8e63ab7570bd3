//! How a process that answers calls gets its connections.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use egress::{Brokered, Direct, Surroundings, SystemResolver, Way};
use policy::{Policy, Revocations};
use tokio::sync::watch;
use uuid::Uuid;

use crate::cli::Serve;
use crate::command::CommandError;
use crate::policy_files;
use crate::witness::Trail;

/// Asks the broker at the other end of a line.
pub(crate) fn brokered(line: OwnedFd) -> Result<Arc<dyn Way>, CommandError> {
    Ok(Brokered::start(line)?)
}

/// Opens connections in this process, and keeps the record of them. Cuts those that are revoked.
pub(crate) fn direct(
    settings: &Serve,
    own_addresses: Vec<SocketAddr>,
    policy: Arc<Policy>,
    revocations: &watch::Sender<Arc<Revocations>>,
) -> Result<(Arc<Direct>, Trail), CommandError> {
    let trail = Trail::open(settings)?;
    let surroundings = Surroundings {
        resolver: Arc::new(SystemResolver::new()?),
        own_addresses,
        revocations: revocations.subscribe(),
        witness: Arc::new(trail.clone()),
        secrets_base: policy_files::folder(&settings.routes).to_owned(),
        run: Uuid::now_v7().simple().to_string(),
    };
    let direct = Direct::new(policy, surroundings);
    direct.keep_watch();
    Ok((direct, trail))
}
