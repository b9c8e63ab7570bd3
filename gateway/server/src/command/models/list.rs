//! `portcullis models list`: the models of a policy, who serves them, and which are here. Reads no weights.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use policy::{Digest, Model, Target};
use serde_json::{Value, json};

use super::{CommandError, Routes, print_json};
use crate::checkpoint::{CheckpointError, Manifest, ModelFiles};
use crate::cli::List;
use crate::error::with_causes;
use crate::progress::readable;

/// The columns' names.
const HEAD: [&str; 6] = ["MODEL", "PROVIDER", "FROM", "STATE", "SIZE", "DIGEST"];

/// One model, as it is shown.
struct Row {
    model: String,
    provider: String,
    from: String,
    /// `here`, `absent` or `unreadable`; `remote` for a model that somebody else serves.
    state: &'static str,
    bytes: Option<u64>,
    digest: Option<Digest>,
    pin: Pin,
    detail: Option<String>,
}

/// What is known of the digest without reading the files.
#[derive(Clone, Copy)]
enum Pin {
    /// Somebody else serves it.
    Remote,
    /// The policy names none: whatever lies there is served.
    None,
    /// It is the one that was pulled.
    Pulled,
    /// Another one was pulled: the model will not start.
    Differs,
    /// Nothing beside the files says what they are.
    Unknown,
}

pub(super) fn run(settings: &List) -> Result<ExitCode, CommandError> {
    let routes = Routes::read(&settings.routes)?;
    let rows: Vec<Row> = routes.policy.models().map(|model| Row::of(model, &routes.base)).collect();
    let mut out = stdout().lock();
    if settings.json {
        print_json(&mut out, &rows.iter().map(Row::json).collect())?;
        return Ok(ExitCode::SUCCESS);
    }
    let cells: Vec<[String; 6]> = rows.iter().map(Row::cells).collect();
    let width = |column: usize| {
        let cells = cells.iter().map(|row| row[column].chars().count());
        cells.chain([HEAD[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for row in [HEAD.map(str::to_owned)].iter().chain(&cells) {
        let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    for row in &rows {
        if let Some(detail) = &row.detail {
            writeln!(out, "\n{}: {detail}", row.model)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Row {
    fn of(model: &Model, base: &Path) -> Self {
        let mut row = Self {
            model: model.name().to_string(),
            provider: model.provider().to_string(),
            from: model.upstream_name().to_owned(),
            state: "remote",
            bytes: None,
            digest: model.weights_digest().copied(),
            pin: Pin::Remote,
            detail: None,
        };
        if let Target::Engine(target) = model.target() {
            let path = base.join(target.path());
            row.from = path.display().to_string();
            row.look(&path);
        }
        row
    }

    /// Looks at the files, without reading them.
    fn look(&mut self, path: &Path) {
        self.pin = self.digest.map_or(Pin::None, |_| Pin::Unknown);
        match ModelFiles::at(path) {
            Ok(files) => {
                (self.state, self.bytes) = ("here", Some(files.bytes()));
                match (self.digest, Manifest::read(files.manifest_path())) {
                    (_, Err(error)) => self.detail = Some(with_causes(&error)),
                    (Some(digest), Ok(Some(manifest))) => {
                        self.pin = if manifest.digest() == digest { Pin::Pulled } else { Pin::Differs };
                    }
                    (_, Ok(_)) => {}
                }
            }
            Err(CheckpointError::Absent { .. }) => self.state = "absent",
            Err(error) => (self.state, self.detail) = ("unreadable", Some(with_causes(&error))),
        }
    }

    fn cells(&self) -> [String; 6] {
        [
            self.model.clone(),
            self.provider.clone(),
            self.from.clone(),
            self.state.to_owned(),
            self.bytes.map_or_else(|| "-".to_owned(), readable),
            self.pin.words().to_owned(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "model": self.model,
            "provider": self.provider,
            "from": self.from,
            "state": self.state,
            "bytes": self.bytes,
            "digest": self.digest.map(|digest| format!("sha256:{digest}")),
            "digest_state": self.pin.code(),
            "detail": self.detail,
        })
    }
}

impl Pin {
    fn words(self) -> &'static str {
        match self {
            Self::Remote => "-",
            Self::None => "not pinned",
            Self::Pulled => "pinned, as pulled",
            Self::Differs => "pinned to another one than was pulled",
            Self::Unknown => "pinned",
        }
    }

    fn code(self) -> Option<&'static str> {
        match self {
            Self::Remote => None,
            Self::None => Some("none"),
            Self::Pulled => Some("pulled"),
            Self::Differs => Some("differs"),
            Self::Unknown => Some("unknown"),
        }
    }
}
