//! A compiled constraint along one reply.

use llguidance::Matcher as Inner;

/// Where a reply stands in its grammar. It sees each token once, so a sequence that gives its blocks back and is
/// computed again keeps it.
pub(crate) struct Matcher(Inner);

/// The grammar grew too complex along the reply, or has a mistake of its own.
#[derive(Debug)]
pub(crate) struct Broken;

/// Whether more can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More text or the end.
    Open,
    /// Nothing.
    Complete,
}

impl Matcher {
    pub(super) fn new(inner: Inner) -> Self {
        Self(inner)
    }

    /// An independent one at the same place, with its own caches.
    pub(crate) fn fork(&self) -> Self {
        Self(self.0.deep_clone())
    }

    /// Makes every token impossible that cannot come next. `logits` are `[V]`.
    pub(crate) fn mask(&mut self, logits: &mut [f32]) -> Result<(), Broken> {
        let allowed = self.0.compute_mask().map_err(|_| Broken)?;
        for (token, logit) in logits.iter_mut().enumerate() {
            if token >= allowed.len() || !allowed.get(token) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// Takes the next token.
    pub(crate) fn take(&mut self, token: u32) -> Result<Progress, Broken> {
        self.0.consume_token(token).map_err(|_| Broken)?;
        match self.0.is_stopped() {
            true if self.0.stop_reason().is_ok() => Ok(Progress::Complete),
            true => Err(Broken),
            false => Ok(Progress::Open),
        }
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Matcher")
    }
}
