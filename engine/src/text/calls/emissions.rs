//! What a reader has found, with neighbouring pieces of a kind in one.

use crate::text::Emission;

/// Parts of a reply, in order.
#[derive(Debug, Default)]
pub(in crate::text) struct Emissions(Vec<Emission>);

impl Emissions {
    pub(in crate::text) fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Emission::Text(before)) => before.push_str(text),
            _ => self.0.push(Emission::Text(text.to_owned())),
        }
    }

    pub(in crate::text) fn reasoning(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Emission::Reasoning(before)) => before.push_str(text),
            _ => self.0.push(Emission::Reasoning(text.to_owned())),
        }
    }

    pub(super) fn begin(&mut self, name: String) {
        self.0.push(Emission::CallBegin { name });
    }

    pub(super) fn arguments(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Emission::Arguments(before)) => before.push_str(text),
            _ => self.0.push(Emission::Arguments(text.to_owned())),
        }
    }

    pub(super) fn argument(&mut self, character: char) {
        self.arguments(character.encode_utf8(&mut [0; 4]));
    }

    pub(super) fn end(&mut self) {
        self.0.push(Emission::CallEnd);
    }
}

impl From<Emissions> for Vec<Emission> {
    fn from(emissions: Emissions) -> Self {
        emissions.0
    }
}
