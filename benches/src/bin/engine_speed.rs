//! `engine_speed`: how many tokens a second the engine reads and writes, through the door that the server uses.
//!
//! Prints one line: prefill of 512 tokens, decode with one stream behind a context of 512, decode with eight streams
//! behind 64 each. Each figure is the best of the turns, since a machine is only ever slowed down by others. Sampling
//! and the channel to the reader are in the time; loading is not. `engine_speed.py` puts a peer beside it.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use benches::kept::Kept;
use clap::{Parser, ValueEnum};
use engine::{EngineConfig, Event, Handle, NewTokens, Prompt, Request, Sampling};
use jiff::ZonedDateTime;
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Tokens of the prompt that is only read.
const PREFILL: usize = 512;
/// Streams, tokens of each one's prompt, tokens of each one's reply.
const ALONE: (usize, usize, usize) = (1, 512, 65);
const EIGHT: (usize, usize, usize) = (8, 64, 49);
/// Prompt tokens are below this and not among the first, which may be special.
const TOKENS: (u32, u32) = (16, 30_000);

/// Measures the engine on a checkpoint.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Settings {
    /// Folder as the hub has it, or GGUF file
    model: PathBuf,
    /// How weights are kept
    #[arg(long, value_enum, default_value_t = Kept::AsStored)]
    weights: Kept,
    /// Turns, of which the best counts
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Prefill,
    Decode1,
    Decode8,
}

fn main() -> ExitCode {
    match run(&Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Outcome<()> {
    let weights = settings.weights.format();
    let config = EngineConfig { kv_cache_bytes: 128 << 20, weights, ..EngineConfig::default() };
    let engine = engine::start(&settings.model, config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut best = [0f64; 3];
    for turn in 0..settings.turns as u32 {
        for (part, best) in [Part::Prefill, Part::Decode1, Part::Decode8].into_iter().zip(&mut best) {
            if settings.only.is_none_or(|only| only == part) {
                let rate = runtime.block_on(async {
                    match part {
                        Part::Prefill => prefill(&engine, turn).await,
                        Part::Decode1 => decode(&engine, ALONE, turn).await,
                        Part::Decode8 => decode(&engine, EIGHT, turn).await,
                    }
                })?;
                *best = best.max(rate);
            }
        }
    }
    let [prefill, one, eight] = best;
    writeln!(stdout(), "engine prefill512 {prefill:.1} decode1 {one:.1} decode8 {eight:.1} tok/s")?;
    Ok(())
}

/// A request of random tokens; its reply is drawn at temperature 1, so that streams do not fall into step.
fn request(prompt_tokens: usize, new_tokens: usize, number: u32) -> Request {
    let mut state = 0x9e37_79b9 ^ (number + 1).wrapping_mul(0x85eb_ca6b);
    let token = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        TOKENS.0 + (state >> 8) % (TOKENS.1 - TOKENS.0)
    };
    Request {
        prompt: Prompt::Tokens((0..prompt_tokens).map(token).collect()),
        sampling: Sampling { temperature: 1.0, seed: Some(u64::from(number)), ..Sampling::GREEDY },
        stop: Vec::new(),
        ending: engine::Ending::default(),
        report: engine::Report::default(),
        new_tokens: NewTokens::Reserved(new_tokens),
        constraint: None,
        now: ZonedDateTime::now(),
    }
}

/// When each token of a reply arrived.
async fn arrivals(engine: Handle, request: Request) -> Outcome<Vec<Instant>> {
    let mut events = engine.submit(request).await?;
    let mut arrivals = Vec::new();
    while let Some(event) = events.next().await {
        if event == Event::Failed {
            return Err("the engine failed".into());
        }
        // A reply that ended before its length would be counted short, never long.
        arrivals.resize(events.completion_tokens(), Instant::now());
    }
    Ok(arrivals)
}

async fn prefill(engine: &Handle, turn: u32) -> Outcome<f64> {
    let start = Instant::now();
    arrivals(engine.clone(), request(PREFILL, 1, turn)).await?;
    Ok(PREFILL as f64 / start.elapsed().as_secs_f64())
}

/// Tokens a second while all the streams are being written.
async fn decode(
    engine: &Handle,
    (streams, prompt_tokens, new_tokens): (usize, usize, usize),
    turn: u32,
) -> Outcome<f64> {
    let mut running = JoinSet::new();
    for stream in 0..streams as u32 {
        let request = request(prompt_tokens, new_tokens, 1000 * (turn + 1) + stream);
        running.spawn(arrivals(engine.clone(), request));
    }
    let mut replies = Vec::new();
    while let Some(reply) = running.join_next().await {
        replies.push(reply??);
    }
    let first = replies.iter().filter_map(|reply| reply.first()).max().ok_or("no reply")?;
    let last = replies.iter().filter_map(|reply| reply.last()).min().ok_or("no reply")?;
    let counted = replies.iter().flatten().filter(|at| *at > first && *at <= last).count();
    Ok(counted as f64 / last.duration_since(*first).as_secs_f64())
}
