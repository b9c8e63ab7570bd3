//! Constraints to matchers, off the engine thread and the async threads, within limits, and kept for the next request.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use llguidance::api::ParserLimits;
use llguidance::toktrie::InferenceCapabilities;
use llguidance::{Matcher as Inner, ParserFactory};
use tokio::sync::{Semaphore, oneshot};

use super::grammar::Grammar;
use super::spelling::Spelling;
use super::{Constraint, ConstraintError, Matcher, vocabulary};
use crate::text::{Thinking, Tokenizer, Tool, ToolForm};

/// Grammars that are kept compiled, the last used ones.
const KEPT_GRAMMARS_MAX: usize = 32;
/// Grammars that are compiled at once; more wait.
const COMPILING_MAX: usize = 2;
/// How long a request waits for its grammar. A grammar that takes longer is still finished and kept.
const COMPILE_SECONDS_MAX: u64 = 10;
/// Stack of a compiling thread, in bytes. The compiler recurses along rules that refer to each other.
const STACK_BYTES: usize = 256 << 20;
/// Symbols of a compiled grammar: a schema of some hundred KiB.
const GRAMMAR_SYMBOLS_MAX: usize = 100_000;
/// What the compiler says of a mistake, in bytes.
const REASON_BYTES_MAX: usize = 300;

/// The compiler of one model's vocabulary.
pub(crate) struct Compiler {
    tokenizer: Arc<Tokenizer>,
    /// V, the tokens that the model has an embedding for.
    vocabulary: usize,
    /// How the model writes calls of tools, if that is known.
    tool_form: Option<ToolForm>,
    /// Made at the first constrained request; `None` if the tokenizer is of no known kind.
    factory: OnceLock<Option<ParserFactory>>,
    /// The last used first. Held for a look-up or an insertion.
    kept: Mutex<VecDeque<Kept>>,
    compiling: Arc<Semaphore>,
}

/// A compiled grammar that no reply has begun with.
struct Kept {
    grammar: Grammar,
    fresh: Matcher,
}

impl Compiler {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, vocabulary: usize, tool_form: Option<ToolForm>) -> Self {
        Self {
            tokenizer,
            vocabulary,
            tool_form,
            factory: OnceLock::new(),
            kept: Mutex::new(VecDeque::new()),
            compiling: Arc::new(Semaphore::new(COMPILING_MAX)),
        }
    }

    /// A matcher at the start of a reply.
    ///
    /// # Errors
    /// Returns [`ConstraintError`] if the constraint is wrong, exceeds a limit, or this model cannot be held to it.
    pub(crate) async fn compile(
        self: Arc<Self>,
        constraint: Constraint,
        tools: Vec<Tool>,
        thinking: Thinking,
    ) -> Result<Matcher, ConstraintError> {
        let what = constraint.what();
        let compile = async {
            let place = Arc::clone(&self.compiling).acquire_owned().await.map_err(|_| failed(what))?;
            let (done, result) = oneshot::channel();
            let work = move || {
                // A client that left does not need it; the next one may.
                let _ = done.send(self.compile_here(&constraint, &tools, thinking));
                drop(place);
            };
            let thread = std::thread::Builder::new().name("grammar".to_owned()).stack_size(STACK_BYTES);
            thread.spawn(work).map_err(|_| failed(what))?;
            result.await.map_err(|_| failed(what))?
        };
        let limit = || format!("it takes longer than {COMPILE_SECONDS_MAX} seconds to prepare");
        let wait = tokio::time::timeout(Duration::from_secs(COMPILE_SECONDS_MAX), compile);
        wait.await.unwrap_or_else(|_| Err(ConstraintError::TooLarge { what, limit: limit() }))
    }

    fn compile_here(
        &self,
        constraint: &Constraint,
        tools: &[Tool],
        thinking: Thinking,
    ) -> Result<Matcher, ConstraintError> {
        let spelling = Spelling::new(&self.tokenizer);
        let grammar = Grammar::new(constraint, tools, self.tool_form, spelling)?.after(thinking, spelling);
        if let Some(matcher) = self.recall(&grammar) {
            return Ok(matcher);
        }
        let factory = self.factory.get_or_init(|| factory(&self.tokenizer, self.vocabulary));
        let factory = factory.as_ref().ok_or(ConstraintError::NoVocabulary)?;
        let invalid = |reason| ConstraintError::Invalid { what: constraint.what(), reason };
        let source = grammar.for_compiler().map_err(|error| invalid(error.to_string()))?;
        let parser =
            factory.create_parser(source).map_err(|error| invalid(first_line(&error.to_string())))?;
        let inner = Inner::new(Ok(parser));
        // A grammar without any text, or one too complex from the start, is found here and not in the engine thread.
        if let Err(error) = inner.deep_clone().compute_mask() {
            return Err(invalid(first_line(&error.to_string())));
        }
        let fresh = Matcher::new(inner);
        let matcher = fresh.fork();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front(Kept { grammar, fresh });
        kept.truncate(KEPT_GRAMMARS_MAX);
        Ok(matcher)
    }

    fn recall(&self, grammar: &Grammar) -> Option<Matcher> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|kept| kept.grammar == *grammar)?;
        let found = kept.remove(at)?;
        let matcher = found.fresh.fork();
        kept.push_front(found);
        Some(matcher)
    }
}

fn factory(tokenizer: &Arc<Tokenizer>, vocabulary: usize) -> Option<ParserFactory> {
    let environment = vocabulary::environment(tokenizer, vocabulary)?;
    let slices = llguidance::earley::SlicedBiasComputer::general_slices();
    let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices).ok()?;
    // What it would write to stderr has the client's text in it.
    factory.quiet();
    *factory.limits_mut() = ParserLimits {
        max_grammar_size: GRAMMAR_SYMBOLS_MAX,
        verbose_errors: false,
        ..ParserLimits::default()
    };
    Some(factory)
}

fn failed(what: &'static str) -> ConstraintError {
    ConstraintError::Invalid { what, reason: "its compiler failed".to_owned() }
}

/// What a client can use of a compiler's message.
fn first_line(message: &str) -> String {
    if message.starts_with("panic") {
        return "its compiler failed".to_owned();
    }
    let line = message.lines().next().unwrap_or_default();
    line.char_indices().take_while(|(at, _)| *at < REASON_BYTES_MAX).map(|(_, character)| character).collect()
}

impl fmt::Debug for Compiler {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Compiler").field("vocabulary", &self.vocabulary).finish_non_exhaustive()
    }
}
