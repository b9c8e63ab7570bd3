//! Text up to a marker, a character at a time.

/// White space before a marker of a call is the form's, not the text's; up to this many bytes of it are dropped.
pub(super) const SPACE_BYTES_MAX: usize = 64;

/// Looks for markers. No marker may stand within the beginning of another.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// White space and what may be the start of a marker.
    held: String,
}

/// A marker that is complete.
#[derive(Debug)]
pub(super) struct Found {
    /// Which of them.
    pub(super) marker: usize,
    /// The marker and the white space that was held before it.
    pub(super) written: String,
}

impl Scanner {
    /// Takes the next character and passes on what became no marker. Up to `space_max` bytes of white space are held
    /// back, since they may stand before one.
    pub(super) fn take(
        &mut self,
        character: char,
        markers: &[&str],
        space_max: usize,
        mut pass: impl FnMut(&str),
    ) -> Option<Found> {
        self.held.push(character);
        loop {
            let space = if space_max == 0 { 0 } else { self.held.len() - self.held.trim_ascii_start().len() };
            let rest = &self.held[space..];
            let certain = match rest.chars().next() {
                None if space <= space_max => return None,
                None => 1,
                Some(first) => {
                    if let Some(marker) = markers.iter().position(|marker| *marker == rest) {
                        return Some(Found { marker, written: std::mem::take(&mut self.held) });
                    }
                    if markers.iter().any(|marker| marker.starts_with(rest)) {
                        return None;
                    }
                    space + first.len_utf8()
                }
            };
            pass(&self.held[..certain]);
            self.held.drain(..certain);
            if self.held.is_empty() {
                return None;
            }
        }
    }

    /// Gives what is held: nothing follows that could complete it.
    pub(super) fn release(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
