//! Completeness: pairs intents with results, connections with their ends, and runs with theirs.
//!
//! Keeps only what is open in the current run: as many calls and connections as there were at a time.

use std::collections::HashMap;

use uuid::Uuid;

use super::Missing;
use crate::line::{Body, Entry, Gap};

/// What the records read so far owe.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    run: Option<Run>,
    missing: Vec<Missing>,
}

/// The run whose records are being read.
#[derive(Debug)]
struct Run {
    boot: u32,
    /// Intents without a result yet, and their sequence numbers.
    open: HashMap<Uuid, u64>,
    /// Results that belong to no open intent.
    unmatched: u64,
    /// Dials whose connection has no end yet, and their sequence numbers.
    connected: HashMap<Box<str>, u64>,
    /// Ends of connections that no dial opened.
    unopened: u64,
    /// Whether the last record read is `log.close`.
    closed: bool,
}

impl Ledger {
    pub(super) fn follow(&mut self, entry: &Entry) {
        if self.run.as_ref().is_none_or(|run| run.boot != entry.boot) {
            self.end_run();
        }
        let run = self.run.get_or_insert_with(|| Run::new(entry.boot));
        run.closed = false;
        match &entry.body {
            Body::Intent { id } => {
                run.open.insert(*id, entry.seq);
            }
            Body::Result { intent } => {
                if run.open.remove(intent).is_none() {
                    run.unmatched += 1;
                }
            }
            Body::Dialled { dial } => {
                run.connected.insert(dial.clone(), entry.seq);
            }
            Body::Ended { dial } => {
                if run.connected.remove(dial).is_none() {
                    run.unopened += 1;
                }
            }
            Body::Close => run.closed = true,
            Body::Gap(Gap::TornTail { file, bytes, after_seq }) => {
                let (file, bytes, after_seq) = (file.clone(), *bytes, *after_seq);
                self.missing.push(Missing::TornTail { file, bytes, after_seq });
            }
            // Orphans are counted from the records themselves, not from what the log says of them.
            Body::Gap(Gap::OrphanIntents { .. }) | Body::Open(_) | Body::Plain(_) => {}
        }
    }

    /// What is missing although the last run still writes: what is open in it is in progress, not lost.
    pub(super) fn so_far(self) -> Vec<Missing> {
        self.missing
    }

    /// What is missing now that no run writes any more.
    pub(super) fn at_end(mut self) -> Vec<Missing> {
        self.end_run();
        self.missing
    }

    fn end_run(&mut self) {
        let Some(Run { boot, open, unmatched, connected, unopened, closed }) = self.run.take() else {
            return;
        };
        if let Some(&first_seq) = open.values().min() {
            self.missing.push(Missing::Results { boot, count: open.len() as u64, first_seq });
        }
        if unmatched > 0 {
            self.missing.push(Missing::Intents { boot, count: unmatched });
        }
        if let Some(&first_seq) = connected.values().min() {
            self.missing.push(Missing::Closes { boot, count: connected.len() as u64, first_seq });
        }
        if unopened > 0 {
            self.missing.push(Missing::Dials { boot, count: unopened });
        }
        if !closed {
            self.missing.push(Missing::Close { boot });
        }
    }
}

impl Run {
    fn new(boot: u32) -> Self {
        let (open, connected) = (HashMap::new(), HashMap::new());
        Self { boot, open, unmatched: 0, connected, unopened: 0, closed: false }
    }
}
