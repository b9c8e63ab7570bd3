//! The whole answer of `generateContent`: a stream of one event.

use super::stream::Reader;
use crate::reply::{Assembler, Envelope, Reply, Unreadable};

/// Reads the body of an answer of `generateContent`; its seals are those of `provider`.
///
/// # Errors
/// Returns that the body is no such answer, or the error that it is.
pub fn read_reply(body: &[u8], provider: &str) -> Result<Reply, Unreadable> {
    let response = serde_json::from_slice(body)
        .map_err(|_| Unreadable::Malformed("it is no GenerateContentResponse"))?;
    let (mut reader, mut deltas) = (Reader::new(), Vec::new());
    reader.take(response, &mut deltas)?;
    reader.at_end(&mut deltas);
    // Only the provider of an envelope counts for seals.
    let envelope =
        Envelope { unique: String::new(), created_s: 0, model: String::new(), provider: provider.to_owned() };
    let mut assembler = Assembler::default();
    for delta in deltas {
        assembler.push(delta, &envelope);
    }
    assembler.finish().ok_or(Unreadable::Malformed("it does not say why it ends"))
}
