//! Logging: lines on standard error, each with the process that writes it.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::command::CommandError;
use crate::processes::Role;

/// Begins to log what `filter` lets through.
pub(crate) fn begin(filter: &str, role: Option<Role>) -> Result<(), CommandError> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| format!("--log {filter}: {error}"))?;
    let colours = std::io::stderr().is_terminal();
    let lines = Lines { role, inner: Format::default() };
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(colours)
        .event_format(lines)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

/// The usual lines, behind the role of the process.
struct Lines {
    role: Option<Role>,
    inner: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(role) = self.role {
            write!(writer, "[{}] ", role.as_str())?;
        }
        self.inner.format_event(context, writer, event)
    }
}
