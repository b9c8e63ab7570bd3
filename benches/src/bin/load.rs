//! `load`: asks an endpoint many times and says how fast it answered.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::time::Duration;

use benches::load::{self, Delivery, Plan};
use clap::Parser;

/// Measures an endpoint that speaks the `OpenAI` API: a fixed number of callers, one request each at a time.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Settings {
    /// Where the endpoints lie
    #[arg(long, default_value = "http://127.0.0.1:8080/v1", value_name = "URL")]
    base_url: String,
    /// Sent as a bearer token
    #[arg(long, env = "LOAD_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// The `model` of each request
    #[arg(long, default_value = "auto")]
    model: String,
    /// Requests in flight at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// Requests in all
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Length of each prompt, about, in tokens
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    prompt_tokens: u32,
    /// Most tokens of each answer
    #[arg(long, default_value_t = 64)]
    max_tokens: u32,
    /// Ask for streams, and time their tokens
    #[arg(long)]
    stream: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Longest wait for one answer, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout_seconds: u64,
}

impl Settings {
    fn plan(&self) -> Plan {
        Plan {
            base_url: self.base_url.clone(),
            api_key: self.api_key.clone(),
            model: self.model.clone(),
            concurrency: self.concurrency as usize,
            requests: self.requests as usize,
            prompt_tokens: self.prompt_tokens as usize,
            max_tokens: self.max_tokens,
            delivery: if self.stream { Delivery::Stream } else { Delivery::Whole },
            timeout: Duration::from_secs(self.timeout_seconds),
        }
    }
}

fn main() -> ExitCode {
    match run(&Settings::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(stderr(), "load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Exit code 0 only if every request was answered.
fn run(settings: &Settings) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(load::run(settings.plan()))?;
    if settings.json {
        writeln!(stdout(), "{:#}", report.to_json())?;
    } else {
        writeln!(stdout(), "{report}")?;
    }
    Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
