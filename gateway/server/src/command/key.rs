//! `portcullis key`: keys for callers, which of them a policy knows, and how one stops to work at once.

use std::fs;
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use policy::key::ApiKey;
use policy::{CallerName, KeyId, KnownKey, Moment, Revocations, Source};
use serde_json::{Value, json};

use super::{CommandError, moment, print_json, read_duration, read_policy, revocation};
use crate::clock::now;
use crate::durable;

/// Seconds of a day.
const DAY_S: u64 = 86_400;

const REVOKE_HELP: &str = "\
The entry is added to the file that a server reads as --revocations; the rest of the file stays as it is.
A revoked key stops to work at the server's next look at the file. Take its line out of routes.yaml too.";

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key: prints it once, and the line that lets its holder into a workflow
    New(New),
    /// Show the keys of a policy: whose they are, where they open, and until when
    List(List),
    /// Refuse a key from now on, whatever the policy says
    #[command(after_help = REVOKE_HELP)]
    Revoke(Revoke),
}

/// The key to make.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// What the key is called in records, such as ci-7f3a
    id: String,
    /// Who will hold it, where that is not the id: two keys of one caller let one replace the other
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// When it ends: after a time such as 90d, or at a date
    #[arg(long, value_name = "DURATION|DATE", value_parser = end)]
    expires: Option<Moment>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// The policy whose keys to show.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The policy: a file, or a folder of files
    #[arg(long, env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE|DIR")]
    routes: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// The key to refuse.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The key's id, such as ci-7f3a
    id: String,
    /// The file of revocations; it is made if it is not there
    #[arg(long, env = "PORTCULLIS_REVOCATIONS", value_name = "FILE")]
    revocations: PathBuf,
    /// Why, for those who read the file
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn run(command: &KeyCommand) -> Result<ExitCode, CommandError> {
    match command {
        KeyCommand::New(settings) => new(settings)?,
        KeyCommand::List(settings) => list(settings)?,
        KeyCommand::Revoke(settings) => revoke(settings)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads an end that is given as a moment or from now on; the latter ends with a day, so that nobody counts hours.
fn end(text: &str) -> Result<Moment, String> {
    match read_duration(text) {
        Ok(duration) => Ok(now().plus(duration).next_day_start()),
        Err(_) => moment(text).map_err(|error| format!("{error}; or a duration such as 90d")),
    }
}

fn read_id(id: &str) -> Result<KeyId, CommandError> {
    KeyId::new(id).map_err(|error| format!("`{id}` cannot be a key's id: {error}").into())
}

fn new(settings: &New) -> Result<(), CommandError> {
    let New { id, caller, expires, json } = settings;
    let key = ApiKey::from_entropy(read_id(id)?, rand::random());
    let caller = caller.as_deref().map(CallerName::new).transpose();
    let caller = caller.map_err(|error| format!("--caller: {error}"))?;
    let line = key.caller_line_for(caller.as_ref(), *expires);
    let mut out = stdout().lock();
    if *json {
        let shown = json!({
            "id": id,
            "key": key.expose(),
            "caller": caller.as_ref().map_or(id.as_str(), CallerName::as_str),
            "sha256": key.sha256().to_string(),
            "expires": expires.map(|expires| expires.to_string()),
            "caller_line": line,
        });
        return Ok(print_json(&mut out, &shown)?);
    }
    writeln!(out, "The key, shown this once. Give it to the agent as its API key:\n\n  {}\n", key.expose())?;
    writeln!(out, "Its line for `callers` of a workflow in routes.yaml:\n\n  {line}")?;
    if let Some(expires) = expires {
        writeln!(out, "\nIt works until {expires}.")?;
    }
    Ok(())
}

fn list(settings: &List) -> Result<(), CommandError> {
    let policy = read_policy(&settings.routes)?;
    let keys: Vec<KnownKey<'_>> = policy.keys().collect();
    let mut out = stdout().lock();
    if settings.json {
        let now = now();
        return Ok(print_json(&mut out, &keys.iter().map(|key| in_json(key, now)).collect())?);
    }
    if keys.is_empty() {
        let routes = settings.routes.display();
        writeln!(out, "{routes} lets nobody in by a key; make one with `portcullis key new`")?;
        return Ok(());
    }
    print(&mut out, &keys, now())?;
    Ok(())
}

/// Returns the whole days until a key ends; nothing for one that has.
fn days_left(expires: Moment, now: Moment) -> Option<u64> {
    let seconds = expires.unix_s().checked_sub(now.unix_s()).filter(|seconds| *seconds > 0)?;
    Some(seconds / DAY_S)
}

fn in_json(key: &KnownKey<'_>, now: Moment) -> Value {
    let KnownKey { id, caller, expires, workflows } = key;
    let state = match expires.map(|expires| days_left(expires, now)) {
        Some(None) => "expired",
        Some(Some(_)) | None => "active",
    };
    json!({
        "id": id.as_str(),
        "caller": caller,
        "state": state,
        "expires": expires.map(|expires| expires.to_string()),
        "days_left": expires.and_then(|expires| days_left(expires, now)),
        "workflows": workflows.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
    })
}

fn print(out: &mut impl Write, keys: &[KnownKey<'_>], now: Moment) -> io::Result<()> {
    let rows = keys.iter().map(|key| {
        let (expires, left) = match key.expires.map(|expires| (expires, days_left(expires, now))) {
            None => ("never".to_owned(), String::new()),
            Some((expires, None)) => (expires.date(), "expired".to_owned()),
            Some((expires, Some(0))) => (expires.date(), "today".to_owned()),
            Some((expires, Some(days))) => (expires.date(), format!("{days} days")),
        };
        let workflows: Vec<&str> = key.workflows.iter().map(AsRef::as_ref).collect();
        [key.id.to_string(), key.caller.to_owned(), expires, left, workflows.join(", ")]
    });
    let head = ["KEY", "CALLER", "EXPIRES", "LEFT", "WORKFLOWS"].map(ToOwned::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let [a, b, c, d] = [0, 1, 2, 3].map(width);
    for [key, caller, expires, left, workflows] in &rows {
        writeln!(out, "{key:a$}  {caller:b$}  {expires:c$}  {left:d$}  {workflows}")?;
    }
    Ok(())
}

fn revoke(settings: &Revoke) -> Result<(), CommandError> {
    let Revoke { id, revocations: file, reason } = settings;
    let id = read_id(id)?;
    let shown = file.display();
    let before = match fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read {shown}: {error}").into()),
    };
    let mut out = stdout().lock();
    // A list that is wrong revokes nothing: better said now than found out later.
    if let Some(text) = &before
        && parse(file, text)?.revokes_key(&id)
    {
        writeln!(out, "{shown}: {id} is revoked already")?;
        return Ok(());
    }
    let entry = revocation::entry(&id, reason.as_deref(), now())?;
    let changed = revocation::add_key(before.as_deref().unwrap_or_default(), &entry);
    let is_added = |text: &String| parse(file, text).is_ok_and(|list| list.revokes_key(&id));
    let Some(changed) = changed.filter(is_added) else {
        let message = format!("`keys` in {shown} is written in a way that this command does not change");
        return Err(format!("{message}; add this item to it:\n  - {entry}").into());
    };
    durable::replace(file, changed.as_bytes()).map_err(|error| format!("cannot write {shown}: {error}"))?;
    writeln!(out, "{shown}: revoked {id}\n\n  - {entry}")?;
    Ok(())
}

fn parse(file: &Path, text: &str) -> Result<Revocations, CommandError> {
    let source = Source { name: file.display().to_string(), text: text.to_owned() };
    Revocations::parse(&source).map_err(|errors| format!("the list is not valid\n{errors}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_with_what_is_left_of_them() {
        let routes = include_str!("../../../policy/tests/good/keys.yaml");
        let source = policy::Source { name: "routes.yaml".to_owned(), text: routes.to_owned() };
        let policy = policy::Policy::compile(&source).unwrap();
        let (keys, now) = (policy.keys().collect::<Vec<_>>(), Moment::parse("2027-01-31T03:00:00Z").unwrap());
        let mut out = Vec::new();
        print(&mut out, &keys, now).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
KEY            CALLER    EXPIRES     LEFT      WORKFLOWS
ci-1           ci        2027-01-31  today     docs
ci-2           ci        2028-02-29  393 days  docs, more
docs-bot       docs-bot  never                 docs
docs-bot-2027  docs-bot  2027-01-31  expired   docs
"
        );
        let states: Vec<Value> = keys.iter().map(|key| in_json(key, now)["state"].clone()).collect();
        assert_eq!(states, ["active", "active", "active", "expired"]);
    }

    #[test]
    fn an_end_is_a_date_or_a_time_from_now() {
        assert_eq!(end("2027-01-31").unwrap(), Moment::parse("2027-01-31").unwrap());
        let quarter = end("90d").unwrap();
        assert_eq!(quarter, quarter.next_day_start());
        assert!(matches!(days_left(quarter, now()), Some(90 | 89)));
        assert!(end("90").unwrap_err().contains("90d"));
    }
}
