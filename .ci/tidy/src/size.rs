//! Limits on what a clone has to carry, in bytes.

use std::collections::BTreeMap;

use crate::{Finding, Rule};

/// Most bytes of one file; the demo model's weights are the largest there is.
pub const FILE_BYTES_MAX: u64 = 8_000_000;
/// Most bytes of one folder of golden fixtures.
pub const GOLDEN_BYTES_MAX: u64 = 400_000;
/// Most bytes of all files together.
pub const TREE_BYTES_MAX: u64 = 28_000_000;

/// Checks the files' sizes, given with their paths.
pub fn check(files: &[(String, u64)]) -> Vec<Finding> {
    let report = |path: &str, bytes: u64, limit: u64| {
        Finding::in_file(path, Rule::Size, format!("{bytes} bytes, {limit} are the limit"))
    };
    let mut found: Vec<_> = files
        .iter()
        .filter(|(_, bytes)| *bytes > FILE_BYTES_MAX)
        .map(|(path, bytes)| report(path, *bytes, FILE_BYTES_MAX))
        .collect();
    let mut golden = BTreeMap::<&str, u64>::new();
    for (path, bytes) in files {
        if let Some(folder) = golden_folder(path) {
            *golden.entry(folder).or_default() += bytes;
        }
    }
    let heavy = golden.into_iter().filter(|(_, bytes)| *bytes > GOLDEN_BYTES_MAX);
    found.extend(heavy.map(|(folder, bytes)| report(folder, bytes, GOLDEN_BYTES_MAX)));
    let total = files.iter().map(|(_, bytes)| bytes).sum();
    if total > TREE_BYTES_MAX {
        found.push(report(".", total, TREE_BYTES_MAX));
    }
    found
}

/// Returns the folder directly under a folder `golden` that holds the file.
fn golden_folder(path: &str) -> Option<&str> {
    const MARK: &str = "/golden/";
    let start = path.find(MARK)? + MARK.len();
    let length = path[start..].find('/')?;
    Some(&path[..start + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(files: &[(&str, u64)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(path, bytes)| ((*path).to_owned(), *bytes)).collect();
        check(&files).into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn files_folders_and_the_tree_have_limits() {
        let none: [&str; 0] = [];
        assert_eq!(
            paths(&[("a", FILE_BYTES_MAX), ("x/golden/a/1", 200_000), ("x/golden/b/1", 300_000)]),
            none
        );
        assert_eq!(paths(&[("a", FILE_BYTES_MAX + 1)]), ["a"]);
        assert_eq!(paths(&[("x/golden/a/1", 200_000), ("x/golden/a/2", 200_001)]), ["x/golden/a"]);
        assert_eq!(paths(&[("a", 8_000_000), ("b", 8_000_000), ("c", 8_000_000), ("d", 4_000_001)]), ["."]);
    }
}
