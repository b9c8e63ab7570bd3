//! The addresses that the program listens on, each for people and credentials of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use crate::cli::Serve;
use crate::command::CommandError;

const AGENTS: &str = "agents";
const METRICS: &str = "metrics";
const ADMIN: &str = "admin";

/// Bound listeners.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) agents: TcpListener,
    pub(crate) metrics: Option<TcpListener>,
    pub(crate) admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the settings name.
    pub(crate) fn bind(settings: &Serve) -> Result<Self, CommandError> {
        let optional = |address: Option<SocketAddr>| address.map(bind).transpose();
        Ok(Self {
            agents: bind(settings.listen)?,
            metrics: optional(settings.metrics_listen)?,
            admin: optional(settings.admin_listen)?,
        })
    }

    /// Takes listeners that somebody else has bound, by what they are for.
    pub(super) fn from_named(named: impl Iterator<Item = (String, OwnedFd)>) -> io::Result<Self> {
        let (mut agents, mut metrics, mut admin) = (None, None, None);
        for (name, listener) in named {
            let place = match name.as_str() {
                AGENTS => &mut agents,
                METRICS => &mut metrics,
                ADMIN => &mut admin,
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a listener for nothing known")),
            };
            *place = Some(TcpListener::from(listener));
        }
        let agents =
            agents.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no agents' listener"))?;
        Ok(Self { agents, metrics, admin })
    }

    /// Returns them with what they are for.
    pub(super) fn named(&self) -> Vec<(&'static str, &TcpListener)> {
        let optional = [(METRICS, &self.metrics), (ADMIN, &self.admin)];
        let optional = optional.into_iter().filter_map(|(name, listener)| Some((name, listener.as_ref()?)));
        std::iter::once((AGENTS, &self.agents)).chain(optional).collect()
    }

    /// Returns the addresses that they have in the end, where the settings leave the port to the system.
    pub(crate) fn addresses(&self) -> io::Result<Addresses> {
        let optional =
            |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        Ok(Addresses {
            agents: self.agents.local_addr()?,
            metrics: optional(&self.metrics)?,
            admin: optional(&self.admin)?,
        })
    }
}

/// Where listeners can be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) agents: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

impl Addresses {
    /// All of them, which is where a gateway never connects to.
    pub(crate) fn all(self) -> Vec<SocketAddr> {
        std::iter::once(self.agents).chain(self.metrics).chain(self.admin).collect()
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, CommandError> {
    let listener = TcpListener::bind(address);
    listener.map_err(|error| format!("cannot listen on {address}: {error}").into())
}
