//! How much memory all engines may take together, and who has it.
//!
//! What a model will take is known before anything of it is loaded, and is set aside then. It is given back when the
//! engine's thread has ended, not when somebody decided that it should: two engines are never in memory that only one
//! of them was given.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Size;

/// The memory of all engines. Cheap to clone; the lock is held for a few instructions.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Mutex<Book>>);

/// Who has how much.
#[derive(Debug)]
pub(super) struct Book {
    budget_bytes: Option<u64>,
    held: BTreeMap<u64, (String, u64)>,
    next: u64,
}

/// What is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Short {
    wanted_bytes: u64,
    left_bytes: u64,
    budget_bytes: u64,
    /// Models and what each has.
    holders: Vec<(String, u64)>,
}

impl fmt::Display for Short {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted_bytes, left_bytes, budget_bytes, holders } = self;
        let (wanted, left, budget) = (Size(*wanted_bytes), Size(*left_bytes), Size(*budget_bytes));
        write!(out, "it needs {wanted}, and {left} of the {budget} of all engines are left")?;
        for (place, (name, bytes)) in holders.iter().enumerate() {
            let before = if place == 0 { ": " } else { ", " };
            write!(out, "{before}`{name}` has {}", Size(*bytes))?;
        }
        let advice = if *wanted_bytes > *budget_bytes {
            "give it less KV cache (--kv-cache-mib), or all of them more (--engine-memory-mib)"
        } else {
            "unload a model or put it to sleep first (POST /admin/models/NAME/unload), or raise --engine-memory-mib"
        };
        write!(out, "; {advice}")
    }
}

impl Book {
    pub(super) fn new(budget_bytes: Option<u64>) -> Self {
        Self { budget_bytes, held: BTreeMap::new(), next: 0 }
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.held.values().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Sets memory aside and returns the number under which it goes back.
    pub(super) fn take(&mut self, name: &str, bytes: u64) -> Result<u64, Short> {
        if let Some(budget_bytes) = self.budget_bytes {
            let left_bytes = budget_bytes.saturating_sub(self.held_bytes());
            if bytes > left_bytes {
                let holders = self.held.values().cloned().collect();
                return Err(Short { wanted_bytes: bytes, left_bytes, budget_bytes, holders });
            }
        }
        let number = self.next;
        self.next += 1;
        self.held.insert(number, (name.to_owned(), bytes));
        Ok(number)
    }

    pub(super) fn give_back(&mut self, number: u64) {
        self.held.remove(&number);
    }
}

impl Memory {
    /// All engines together may take so much; `None` leaves it to what the system has.
    pub(crate) fn new(budget_bytes: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(Book::new(budget_bytes))))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets memory aside for a model.
    ///
    /// # Errors
    /// Returns [`Short`] if less is left.
    pub(super) fn take(&self, name: &str, bytes: u64) -> Result<Held, Short> {
        let number = self.book().take(name, bytes)?;
        Ok(Held { memory: self.clone(), number })
    }

    /// What all engines may take, if somebody said so.
    pub(crate) fn budget_bytes(&self) -> Option<u64> {
        self.book().budget_bytes
    }

    /// What they were given, those that are on their way out included.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.book().held_bytes()
    }
}

/// Memory that was set aside, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Memory,
    number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.book().give_back(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_figures_and_what_to_do() {
        let memory = Memory::new(Some(4 << 30));
        let first = memory.take("a", 3 << 30).unwrap();
        assert_eq!(
            memory.take("b", 2 << 30).unwrap_err().to_string(),
            "it needs 2.0 GiB, and 1.0 GiB of the 4.0 GiB of all engines are left: `a` has 3.0 GiB; unload a model or put it \
             to sleep first (POST /admin/models/NAME/unload), or raise --engine-memory-mib"
        );
        let never = memory.take("b", 5 << 30).unwrap_err().to_string();
        assert!(
            never.ends_with(
                "give it less KV cache (--kv-cache-mib), or all of them more (--engine-memory-mib)"
            ),
            "{never}"
        );
        assert_eq!(memory.held_bytes(), 3 << 30, "a refusal takes nothing");
        drop(first);
        assert_eq!(memory.held_bytes(), 0);
        assert!(memory.take("b", 2 << 30).is_ok());
    }

    #[test]
    fn without_a_budget_everything_is_given() {
        let memory = Memory::new(None);
        let held = [memory.take("a", u64::MAX).unwrap(), memory.take("b", u64::MAX).unwrap()];
        assert_eq!(memory.held_bytes(), u64::MAX);
        drop(held);
    }
}
