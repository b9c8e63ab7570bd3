//! Reads the files of a model folder, with errors that name the file.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::TextError;

const ADVICE_MISSING: &str = "copy it from the model's publisher into the model folder";
const ADVICE_UNREADABLE: &str = "check that it is a file and that this user may read it";

/// Reads a file that a model cannot do without.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TextError> {
    read_if_present(path)?.ok_or_else(|| TextError::Unreadable {
        path: path.to_owned(),
        advice: ADVICE_MISSING,
        source: ErrorKind::NotFound.into(),
    })
}

/// Reads a file that some models do not have.
pub(crate) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, TextError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => {
            Err(TextError::Unreadable { path: path.to_owned(), advice: ADVICE_UNREADABLE, source })
        }
    }
}

/// Reads a JSON file that a model cannot do without.
pub(crate) fn read_json(path: &Path) -> Result<Value, TextError> {
    parse_json(path, &read(path)?)
}

/// Reads a JSON file that some models do not have; `null` stands for an absent one.
pub(crate) fn read_json_if_present(path: &Path) -> Result<Value, TextError> {
    read_if_present(path)?.map_or(Ok(Value::Null), |bytes| parse_json(path, &bytes))
}

/// The files of a folder that some models have and whose names end in `.{extension}`: the rest of each name, and its
/// path, in order.
pub(crate) fn list_if_present(folder: &Path, extension: &str) -> Result<Vec<(String, PathBuf)>, TextError> {
    let unreadable =
        |source| TextError::Unreadable { path: folder.to_owned(), advice: ADVICE_UNREADABLE, source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|end| end == extension)) {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Makes the error of a file whose content is not what it should be.
pub(crate) fn invalid(path: &Path, source: impl Into<super::BoxError>) -> TextError {
    TextError::Invalid { path: path.to_owned(), source: source.into() }
}

fn parse_json(path: &Path, bytes: &[u8]) -> Result<Value, TextError> {
    serde_json::from_slice(bytes).map_err(|error| invalid(path, error))
}
