//! Strict JSON: one valid document, no key twice, bounded depth and size.
//!
//! Why duplicates are refused: of `{"model":"a","model":"b"}` some readers see `a` and others `b`,
//! so policy could decide about one and the upstream act on the other. Keys are compared after
//! escapes are decoded, with case.
//!
//! Deliberately absent: repair of nearly valid documents, comments, and any tree of values; the
//! typed readers (`read`) look at the same bytes again and build only what is used.

mod check;
pub(crate) mod compact;
mod path;
pub(crate) mod read;
mod text;

pub use check::{JsonError, Limits, Position, check};
pub use path::Path;
pub(crate) use text::Text;
