//! What a call would cost at a hop, before anybody knows how long its answer will be.

/// Micro-USD per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// Of the prompt.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
}

/// How many tokens a call is expected to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// In the prompt.
    pub input: u64,
    /// In the answer: what the client allows, or a guess.
    pub output: u64,
}

impl Price {
    /// The price of `tokens`, in millionths of a micro-USD: only good for comparing.
    pub(crate) fn of(self, tokens: Tokens) -> u128 {
        let part = |price: u64, tokens: u64| u128::from(price) * u128::from(tokens);
        part(self.input, tokens.input) + part(self.output, tokens.output)
    }
}
