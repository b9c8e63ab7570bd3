//! Answers that the gateway keeps in memory, so that a client may continue one by its id alone.
//!
//! Only for workflows whose policy says so, and only for the caller who asked. Nothing is written to a disk, and
//! nothing is asked of a provider: what such a call sends is the whole conversation.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use policy::StoredResponses;
use tokio::time::Instant;
use wire::call::{Block, Call, Content};
use wire::openai::responses;
use wire::reply::{Assembler, Delta, Envelope, Reply};

/// Most bytes that all workflows together may keep.
const BYTES_MAX: u64 = 1 << 30;

/// Every answer that is kept, by its owner and id.
#[derive(Default)]
pub(crate) struct Stored(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    answers: HashMap<Key, Answer>,
    /// Keys from the oldest to the youngest.
    order: VecDeque<Key>,
    bytes: u64,
}

/// The owner and the id.
type Key = (String, String);

struct Answer {
    exchange: Arc<Exchange>,
    bytes: u64,
    expires: Instant,
}

/// What was asked and answered.
pub(crate) struct Exchange {
    call: Call,
    reply: Reply,
}

impl Exchange {
    /// Returns `next` with this exchange before it.
    pub(crate) fn continued_by(&self, next: Call) -> Call {
        responses::continued(&self.call, &self.reply, next)
    }
}

impl Stored {
    /// Returns the answer `id` of `owner`, if it is still kept.
    pub(crate) fn get(&self, owner: &str, id: &str) -> Option<Arc<Exchange>> {
        let mut shelf = self.lock();
        shelf.expire(Instant::now());
        let answer = shelf.answers.get(&(owner.to_owned(), id.to_owned()))?;
        Some(Arc::clone(&answer.exchange))
    }

    fn put(&self, key: Key, exchange: Exchange, (bytes, limits): (u64, StoredResponses)) {
        let mut shelf = self.lock();
        shelf.expire(Instant::now());
        let limit = limits.max_bytes.min(BYTES_MAX);
        if bytes > limit {
            return;
        }
        while shelf.bytes + bytes > limit {
            if !shelf.drop_oldest() {
                break;
            }
        }
        shelf.bytes += bytes;
        shelf.order.push_back(key.clone());
        let expires = Instant::now() + limits.keep;
        shelf.answers.insert(key, Answer { exchange: Arc::new(exchange), bytes, expires });
    }

    /// Held for a look-up or an insertion, never across an await.
    fn lock(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.order.front() {
            match self.answers.get(oldest) {
                Some(answer) if answer.expires > now => return,
                _ => drop(self.drop_oldest()),
            }
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(key) = self.order.pop_front() else { return false };
        if let Some(answer) = self.answers.remove(&key) {
            self.bytes = self.bytes.saturating_sub(answer.bytes);
        }
        true
    }
}

/// Keeps one answer when it is complete.
pub(crate) struct Keeper {
    stored: Arc<Stored>,
    limits: StoredResponses,
    owner: String,
    call: Call,
    call_bytes: usize,
    assembler: Assembler,
    /// The id that the client sees, where the provider chose it.
    id: Option<String>,
}

impl Keeper {
    /// Begins to keep the answer to `call`, whose body had so many bytes, for `owner`.
    pub(crate) fn new(
        stored: &Arc<Stored>,
        limits: StoredResponses,
        owner: &str,
        (call, call_bytes): (Call, usize),
    ) -> Self {
        Self {
            stored: Arc::clone(stored),
            limits,
            owner: owner.to_owned(),
            call,
            call_bytes,
            assembler: Assembler::default(),
            id: None,
        }
    }

    /// The client sees the provider's own id.
    pub(crate) fn under(&mut self, id: Option<String>) {
        self.id = id;
    }

    /// Takes a piece of the answer.
    pub(crate) fn push(&mut self, delta: Delta, envelope: &Envelope) {
        self.assembler.push(delta, envelope);
    }

    /// Keeps what was pushed, if it is complete.
    pub(crate) fn keep(mut self, envelope: &Envelope) {
        if let Some(reply) = std::mem::take(&mut self.assembler).finish() {
            self.keep_reply(reply, envelope);
        }
    }

    /// Keeps a whole answer.
    pub(crate) fn keep_reply(self, reply: Reply, envelope: &Envelope) {
        let id = self.id.unwrap_or_else(|| responses::response_id(envelope));
        let bytes = self.call_bytes + reply.blocks.iter().map(size).sum::<usize>();
        let exchange = Exchange { call: self.call, reply };
        self.stored.put((self.owner, id), exchange, (bytes as u64, self.limits));
    }
}

/// About how much memory a block takes, in bytes.
fn size(block: &Block) -> usize {
    match &block.content {
        Content::Text(text) | Content::Refusal(text) => text.len(),
        Content::ToolCall(call) => call.arguments.len(),
        Content::Reasoning(reasoning) => {
            reasoning.text.len() + reasoning.seal.as_ref().map_or(0, |seal| seal.data.len())
        }
        _ => 0,
    }
}
