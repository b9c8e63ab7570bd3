//! The broker's side: opening what is asked for.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use policy::Policy;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::message::{self, Reply, Request, write};
use crate::dial::{DialError, DialFailure};
use crate::direct::Direct;
use crate::line::Line;
use crate::way::{Ask, DialId};
use crate::witness::CloseReason;

/// Dials under way at once; more wait for their turn in the line.
const DIALS_MAX: usize = 512;

/// Longest time that a dial may be given.
const WITHIN_MAX: Duration = Duration::from_secs(120);

/// Where the broker's policies come from: never from the one who asks, who only says which one is meant.
pub trait Policies: Send + Sync {
    /// Reads the policy, and returns it if it is the one with that digest.
    fn read<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Arc<Policy>, String>>;
}

/// Opens what is asked for at the other end of `line`, until nobody holds that end.
///
/// # Errors
/// Returns what the system says of the line.
pub async fn serve(
    line: OwnedFd,
    direct: Arc<Direct>,
    digest: String,
    policies: Arc<dyn Policies>,
) -> io::Result<()> {
    let broker = Arc::new(Broker { line: Line::new(line)?, direct, policies });
    let places = Arc::new(Semaphore::new(DIALS_MAX));
    // What was taken from the line so far, until the gateway has said what it waits for.
    let mut taken = Some(HashSet::new());
    broker.say(&Reply::Hello { digest }).await;
    loop {
        let request = match broker.line.receive().await {
            Ok(Some(letter)) => serde_json::from_slice(&letter.bytes).map_err(io::Error::from),
            Ok(None) => return Ok(()),
            Err(error) => Err(error),
        };
        match request {
            Ok(Request::Hello) => broker.direct.end_all(CloseReason::UserGone),
            Ok(Request::Over { dial }) => broker.direct.end(&dial, CloseReason::Closed),
            Ok(Request::Asked { ids, is_last }) => {
                let taken = if is_last { taken.take() } else { taken.clone() };
                broker.tell_what_is_lost(&ids, &taken.unwrap_or_default()).await;
            }
            Ok(Request::Adopt { id, digest }) => {
                taken.as_mut().map(|taken| taken.insert(id));
                // In order with what is asked next: a call of the policy that follows finds it in force.
                broker.adopt(id, &digest).await;
            }
            Ok(Request::Open { id, workflow, provider, host, port, purpose, within_ms }) => {
                taken.as_mut().map(|taken| taken.insert(id));
                let ask = message::ask([&workflow, &provider, &host], port, purpose);
                let place = Arc::clone(&places).acquire_owned().await;
                let broker = Arc::clone(&broker);
                tokio::spawn(async move {
                    broker.open(id, ask, Duration::from_millis(within_ms)).await;
                    drop(place);
                });
            }
            Err(error) => tracing::error!(%error, "a message of the gateway cannot be read"),
        }
    }
}

struct Broker {
    line: Line,
    direct: Arc<Direct>,
    policies: Arc<dyn Policies>,
}

impl Broker {
    async fn open(&self, id: u64, ask: Option<Ask>, within: Duration) {
        let Some(ask) = ask else {
            let message = "no workflow, provider or host has such a name".to_owned();
            return self.say(&Reply::Failed { id, kind: DialFailure::Denied, message }).await;
        };
        let deadline = Instant::now() + within.min(WITHIN_MAX);
        match self.direct.dial(&ask, deadline).await {
            Ok((stream, dial)) => match stream.into_socket() {
                Ok(socket) => self.hand_over(id, dial, &socket).await,
                Err(error) => {
                    self.direct.end(&dial, CloseReason::Shutdown);
                    self.fail(id, DialFailure::Unavailable, error.to_string()).await;
                }
            },
            Err(error) => self.fail(id, error.failure(), with_causes(&error)).await,
        }
    }

    /// Fails what the broker before took from the line.
    async fn tell_what_is_lost(&self, ids: &[u64], taken: &HashSet<u64>) {
        for &id in ids.iter().filter(|id| !taken.contains(id)) {
            self.fail(id, DialFailure::Unavailable, "it was replaced before it answered".to_owned()).await;
        }
    }

    async fn hand_over(&self, id: u64, dial: DialId, socket: &OwnedFd) {
        let reply = write(&Reply::Opened { id, dial: dial.clone() });
        if let Err(error) = self.line.send(&reply, &[socket.as_fd()]).await {
            tracing::warn!(%error, "a connection was not handed over");
            self.direct.end(&dial, CloseReason::UserGone);
        }
    }

    async fn fail(&self, id: u64, kind: DialFailure, message: String) {
        self.say(&Reply::Failed { id, kind, message }).await;
    }

    async fn adopt(&self, id: u64, digest: &str) {
        let reply = match self.policies.read(digest).await {
            Ok(policy) => {
                self.direct.decide_by(&policy);
                tracing::info!(digest, "deciding by another policy");
                Reply::Adopted { id }
            }
            Err(message) => {
                tracing::error!(digest, message, "a policy was not taken");
                Reply::NotAdopted { id, message }
            }
        };
        self.say(&reply).await;
    }

    async fn say(&self, reply: &Reply) {
        if let Err(error) = self.line.send(&write(reply), &[]).await {
            tracing::warn!(%error, "the gateway was not answered");
        }
    }
}

fn with_causes(error: &DialError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
