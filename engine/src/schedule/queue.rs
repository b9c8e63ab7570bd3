//! Who of the waiting comes next. Pure: its only clock is the work done.
//!
//! Each tenant has a line for each priority, first come first served within it. Between the lines of one priority the
//! tenant that was served least goes first, counted in tokens put through the model; who comes back after a pause starts
//! no lower than the least of those who are there, so a pause earns no credit (virtual token counter of Sheng et al.,
//! "Fairness in Serving Large Language Models", OSDI 2024). Tokens that a prefix cache saved were not put through, and
//! are not counted.
//!
//! Nobody waits for ever: the first of a line is passed by at most [`PASSES_MAX`] others that came later, and then goes
//! before all lines. Who was made to give its blocks back goes before everybody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::sequence::SeqId;

/// How urgent a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody waits for it.
    #[default]
    Interactive,
    /// It may take what interactive work leaves.
    Batch,
}

/// How many later ones go before the first of a line.
pub(super) const PASSES_MAX: u32 = 64;

/// Where a sequence waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) priority: Priority,
    /// Whose work it is.
    pub(crate) tenant: Arc<str>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: BTreeMap<Lane, Line>,
    /// Those that have run already and gave their blocks back.
    returned: BTreeSet<SeqId>,
    /// Live sequences and tokens put through the model, by tenant.
    tenants: HashMap<Arc<str>, Tenant>,
    len: usize,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<SeqId>,
    /// How many that came later went before the first.
    passes: u32,
}

#[derive(Debug, Default)]
struct Tenant {
    live: usize,
    served: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// A new sequence joins the end of its line.
    pub(super) fn join(&mut self, id: SeqId, lane: &Lane) {
        let present = self.tenants.values().filter(|tenant| tenant.live > 0);
        let least = present.map(|tenant| tenant.served).min();
        let tenant = self.tenants.entry(Arc::clone(&lane.tenant)).or_default();
        if tenant.live == 0 {
            tenant.served = tenant.served.max(least.unwrap_or(0));
        }
        tenant.live += 1;
        self.lines.entry(lane.clone()).or_default().waiting.push_back(id);
        self.len += 1;
    }

    /// A sequence that has run and lost its blocks comes back.
    pub(super) fn come_back(&mut self, id: SeqId) {
        self.returned.insert(id);
        self.len += 1;
    }

    /// The next one of this priority, or of none where somebody waits who goes before all lines.
    pub(super) fn next(&self, priority: Priority) -> Option<SeqId> {
        let heads =
            || self.lines.iter().filter_map(|(lane, line)| Some((lane, line.passes, *line.waiting.front()?)));
        let overdue = heads().filter(|(_, passes, _)| *passes >= PASSES_MAX).map(|(_, _, id)| id).min();
        let in_turn = || {
            let heads = heads().filter(|(lane, ..)| lane.priority == priority);
            heads.map(|(lane, _, id)| (self.tenants[&lane.tenant].served, id)).min().map(|(_, id)| id)
        };
        self.returned.first().copied().or(overdue).or_else(in_turn)
    }

    /// Takes one out that [`Self::next`] named: it runs from now on.
    pub(super) fn leave(&mut self, id: SeqId, lane: &Lane) {
        self.len -= 1;
        if self.returned.remove(&id) {
            return;
        }
        let line = self.lines.get_mut(lane).expect("who waits has a line");
        assert_eq!(line.waiting.pop_front(), Some(id), "only the first of a line is next");
        line.passes = 0;
        if line.waiting.is_empty() {
            self.lines.remove(lane);
        }
        for line in self.lines.values_mut() {
            line.passes += u32::from(line.waiting.front().is_some_and(|first| *first < id));
        }
    }

    /// Counts what was put through the model for a tenant.
    pub(super) fn charge(&mut self, tenant: &Arc<str>, tokens: usize) {
        self.tenants.get_mut(tenant).expect("a live sequence has a tenant").served += tokens as u64;
    }

    /// A sequence is over, wherever it was.
    pub(super) fn forget(&mut self, id: SeqId, lane: &Lane) {
        self.tenants.get_mut(&lane.tenant).expect("a live sequence has a tenant").live -= 1;
        if self.returned.remove(&id) {
            self.len -= 1;
        }
        let Some(line) = self.lines.get_mut(lane) else { return };
        if let Ok(index) = line.waiting.binary_search(&id) {
            line.waiting.remove(index);
            self.len -= 1;
            // The next one has been first for no time.
            line.passes = if index == 0 { 0 } else { line.passes };
        }
        if line.waiting.is_empty() {
            self.lines.remove(lane);
        }
    }

    /// Whether it agrees with itself.
    pub(super) fn is_consistent(&self) -> bool {
        let waiting: usize = self.lines.values().map(|line| line.waiting.len()).sum();
        self.len == waiting + self.returned.len()
            && self.lines.values().all(|line| {
                !line.waiting.is_empty() && line.waiting.iter().is_sorted() && line.passes <= PASSES_MAX
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(priority: Priority, tenant: &str) -> Lane {
        Lane { priority, tenant: tenant.into() }
    }

    /// Lets the next one run, counts `tokens` for it and ends it.
    fn turn(queue: &mut Queue, lanes: &[Lane], tokens: usize) -> Option<usize> {
        let id = queue.next(Priority::Interactive).or_else(|| queue.next(Priority::Batch))?;
        let lane = &lanes[id.0 as usize];
        queue.leave(id, lane);
        queue.charge(&lane.tenant, tokens);
        queue.forget(id, lane);
        assert!(queue.is_consistent());
        Some(id.0 as usize)
    }

    #[test]
    fn whoever_was_served_least_is_next_however_many_the_other_has_waiting() {
        let mut lanes = vec![lane(Priority::Interactive, "many"); 6];
        lanes.extend(vec![lane(Priority::Interactive, "few"); 2]);
        let mut queue = Queue::default();
        (0..).zip(&lanes).for_each(|(id, lane)| queue.join(SeqId(id), lane));
        let order: Vec<_> = std::iter::from_fn(|| turn(&mut queue, &lanes, 10)).collect();
        assert_eq!(order, [0, 6, 1, 7, 2, 3, 4, 5]);
    }

    #[test]
    fn a_pause_earns_no_credit() {
        let mut queue = Queue::default();
        let lanes = [lane(Priority::Interactive, "busy"), lane(Priority::Interactive, "late")];
        queue.join(SeqId(0), &lanes[0]);
        queue.charge(&lanes[0].tenant, 1000);
        queue.join(SeqId(1), &lanes[1]);
        assert_eq!(queue.tenants["late"].served, 1000);
    }

    #[test]
    fn batch_work_waits_and_not_for_ever() {
        let mut lanes = vec![lane(Priority::Batch, "night")];
        let mut queue = Queue::default();
        queue.join(SeqId(0), &lanes[0]);
        for turns in 0.. {
            lanes.push(lane(Priority::Interactive, "day"));
            queue.join(SeqId(lanes.len() as u64 - 1), &lanes[lanes.len() - 1]);
            if turn(&mut queue, &lanes, 1) == Some(0) {
                assert_eq!(turns, PASSES_MAX);
                break;
            }
        }
    }
}
