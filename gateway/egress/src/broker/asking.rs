//! The gateway's side: asking for connections.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use policy::Policy;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::message::{Reply, Request, write};
use crate::dial::{DialError, DialFailure};
use crate::line::{self, Line};
use crate::stats::{Counters, Stats};
use crate::stream::Stream;
use crate::way::{Ask, DialId, Lease, NotAdopted, Opened, Purpose, Way};

/// Most ids in one message: 20 digits each, at most, and a comma.
const IDS_PER_MESSAGE: usize = 512;

/// Opens connections by asking the broker at the other end of a line.
pub struct Brokered {
    line: Line,
    waiting: Mutex<Waiting>,
    next: AtomicU64,
    /// What is to be said without waiting: that connections are over, and what is waited for. No more than there are
    /// connections and questions.
    errands: mpsc::UnboundedSender<Request>,
    counters: Counters,
}

/// A socket, or why there is none.
type Handed = Result<(OwnedFd, DialId), DialError>;

/// Who waits for which answer.
#[derive(Default)]
struct Waiting {
    opens: HashMap<u64, oneshot::Sender<Handed>>,
    adoptions: HashMap<u64, oneshot::Sender<Result<(), NotAdopted>>>,
}

impl Brokered {
    /// Says hello to the broker at the other end of `line`, and listens to it from then on.
    ///
    /// # Errors
    /// Returns what the system says of the line.
    ///
    /// # Panics
    /// Panics outside of a runtime.
    pub fn start(line: OwnedFd) -> io::Result<Arc<Self>> {
        // Before anything can be asked: whatever stands behind it in the line belongs to this gateway.
        line::send(line.as_fd(), &write(&Request::Hello), &[])?;
        #[expect(
            clippy::disallowed_methods,
            reason = "bounded by connections; a drop can neither wait nor give up"
        )]
        let (errands, said) = mpsc::unbounded_channel();
        let brokered = Arc::new(Self {
            line: Line::new(line)?,
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            errands,
            counters: Counters::default(),
        });
        tokio::spawn(Self::listen(Arc::downgrade(&brokered)));
        tokio::spawn(Self::tell(Arc::downgrade(&brokered), said));
        Ok(brokered)
    }

    /// Takes what the broker says, until nobody holds the other end.
    async fn listen(this: Weak<Self>) {
        while let Some(this) = this.upgrade() {
            match this.line.receive().await {
                Ok(Some(letter)) => this.take(&letter.bytes, letter.sockets),
                Ok(None) => break,
                Err(error) => tracing::error!(%error, "a message of the broker cannot be read"),
            }
        }
        if let Some(this) = this.upgrade() {
            this.fail_all();
        }
    }

    /// Says what is to be said.
    async fn tell(this: Weak<Self>, mut errands: mpsc::UnboundedReceiver<Request>) {
        while let Some(errand) = errands.recv().await {
            let Some(this) = this.upgrade() else { return };
            if let Err(error) = this.line.send(&write(&errand), &[]).await {
                tracing::warn!(%error, "the broker was not told");
                this.unsaid(&errand);
            }
        }
    }

    /// Answers a question that the broker will never hear.
    fn unsaid(&self, errand: &Request) {
        let (Request::Open { id, .. } | Request::Adopt { id, .. }) = errand else { return };
        let (open, adoption) = {
            let mut waiting = self.waiting();
            (waiting.opens.remove(id), waiting.adoptions.remove(id))
        };
        if let Some(open) = open {
            drop(open.send(Err(DialError::Unavailable)));
        }
        if let Some(adoption) = adoption {
            drop(adoption.send(Err(NotAdopted("it is not available".to_owned()))));
        }
    }

    fn take(&self, bytes: &[u8], mut sockets: Vec<OwnedFd>) {
        let reply = match serde_json::from_slice(bytes) {
            Ok(reply) => reply,
            Err(error) => return tracing::error!(%error, "the broker said something unknown"),
        };
        match reply {
            Reply::Hello { digest } => {
                tracing::info!(digest, "the broker is there");
                self.claim();
            }
            Reply::Opened { id, dial } => {
                let waiting = self.waiting().opens.remove(&id);
                // Whoever waited has left, or a gateway before this one asked.
                let unclaimed = match (waiting, sockets.pop()) {
                    (Some(waiting), Some(socket)) => waiting.send(Ok((socket, dial.clone()))).is_err(),
                    _ => true,
                };
                if unclaimed {
                    drop(self.errands.send(Request::Over { dial }));
                }
            }
            Reply::Failed { id, kind, message } => {
                let (open, adoption) = {
                    let mut waiting = self.waiting();
                    (waiting.opens.remove(&id), waiting.adoptions.remove(&id))
                };
                if let Some(adoption) = adoption {
                    drop(adoption.send(Err(NotAdopted(message.clone()))));
                }
                if let Some(open) = open {
                    drop(open.send(Err(DialError::Reported { kind, message })));
                }
            }
            Reply::Adopted { id } => self.adopted(id, Ok(())),
            Reply::NotAdopted { id, message } => self.adopted(id, Err(NotAdopted(message))),
        }
    }

    fn adopted(&self, id: u64, result: Result<(), NotAdopted>) {
        if let Some(waiting) = self.waiting().adoptions.remove(&id) {
            drop(waiting.send(result));
        }
    }

    /// Says something that is answered, and waits for the answer from then on.
    ///
    /// Both under one lock, and [`Self::claim`] under the same: a broker that is asked what became of a question has
    /// heard it before, or never will.
    fn say(&self, request: Request, wait: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting();
        wait(&mut waiting);
        // Whoever takes errands lives as long as this does.
        drop(self.errands.send(request));
    }

    /// Names everything that is waited for to a broker that has just begun, so that it says what is lost.
    fn claim(&self) {
        let waiting = self.waiting();
        let mut ids: Vec<u64> = waiting.opens.keys().chain(waiting.adoptions.keys()).copied().collect();
        ids.sort_unstable();
        let mut parts: Vec<Vec<u64>> = ids.chunks(IDS_PER_MESSAGE).map(<[u64]>::to_vec).collect();
        parts.resize_with(parts.len().max(1), Vec::new);
        let last = parts.len() - 1;
        for (index, ids) in parts.into_iter().enumerate() {
            drop(self.errands.send(Request::Asked { ids, is_last: index == last }));
        }
    }

    /// Nobody will answer any more.
    fn fail_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        for (_, waiting) in waiting.opens {
            drop(waiting.send(Err(DialError::Unavailable)));
        }
        for (_, waiting) in waiting.adoptions {
            drop(waiting.send(Err(NotAdopted("it is not available".to_owned()))));
        }
    }

    async fn ask(&self, ask: &Ask, deadline: Instant) -> Handed {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let left = deadline.saturating_duration_since(Instant::now());
        let within_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.say(Request::open(id, ask, within_ms), |waiting| {
            waiting.opens.insert(id, sender);
        });
        // Whoever stops waiting takes the question back, and the answer, if one comes, ends where it arrives.
        let _forget = Forget { brokered: self, id };
        answer.await.unwrap_or(Err(DialError::Unavailable))
    }

    /// Counts refusals, but those that were only asked for to see them.
    fn note(&self, ask: &Ask, error: &DialError) {
        let is_refusal =
            matches!(error.failure(), DialFailure::Denied | DialFailure::Revoked | DialFailure::Address);
        if is_refusal && ask.purpose != Purpose::SealTest {
            self.counters.refuse();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every change is complete before anything could panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a question back.
struct Forget<'a> {
    brokered: &'a Brokered,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.brokered.waiting().opens.remove(&self.id);
    }
}

impl Way for Brokered {
    fn open<'a>(&'a self, ask: &'a Ask, deadline: Instant) -> BoxFuture<'a, Result<Opened, DialError>> {
        async move {
            let (socket, dial) = self.ask(ask, deadline).await.inspect_err(|error| self.note(ask, error))?;
            let (errands, over) = (self.errands.clone(), Request::Over { dial: dial.clone() });
            let lease = Lease::new(move || drop(errands.send(over)));
            let stream = Stream::from_socket(socket).map_err(|source| DialError::Reported {
                kind: DialFailure::Unavailable,
                message: format!("its socket cannot be used: {source}"),
            })?;
            self.counters.allow();
            Ok(Opened { stream, dial, lease })
        }
        .boxed()
    }

    fn adopt<'a>(&'a self, policy: &'a Arc<Policy>) -> BoxFuture<'a, Result<(), NotAdopted>> {
        async move {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let (sender, answer) = oneshot::channel();
            let request = Request::Adopt { id, digest: policy.digest().to_string() };
            self.say(request, |waiting| {
                waiting.adoptions.insert(id, sender);
            });
            answer.await.unwrap_or_else(|_| Err(NotAdopted("it is not available".to_owned())))
        }
        .boxed()
    }

    fn stats(&self) -> Stats {
        self.counters.read()
    }
}
