//! `mock_upstream`: an upstream that answers at a known pace, to put behind the gateway.

use std::io::{Write, stderr, stdout};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::serve::ListenerExt;
use benches::mock::{self, Script};
use clap::Parser;
use tokio::net::TcpListener;

/// Answers `POST /v1/chat/completions` with a fixed number of tokens at a fixed pace.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Settings {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9000", value_name = "ADDR")]
    listen: SocketAddr,
    /// Tokens of each answer, unless the request asks for fewer
    #[arg(long, default_value_t = 64)]
    tokens: u32,
    /// From the request to the first token, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    first_token_ms: u64,
    /// From each token to the next, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    token_ms: u64,
}

fn main() -> ExitCode {
    match run(&Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "mock_upstream: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> std::io::Result<()> {
    let script = Script {
        tokens: settings.tokens,
        first_token_delay: Duration::from_millis(settings.first_token_ms),
        token_delay: Duration::from_millis(settings.token_ms),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(settings.listen).await?;
        writeln!(stdout(), "base URL: http://{}/v1", listener.local_addr()?)?;
        // Each token is a small packet that must not wait for the next.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, mock::router(script)).await
    })
}
