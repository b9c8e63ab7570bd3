//! One Rust file, seen as code: without its comments, its literals and its tests.
//!
//! A scanner, not a parser: it knows comments, strings, raw strings and characters, which is what has to be told
//! apart before a word in the text may be called code. Macros that build code from text are out of scope.

/// A Rust file and its views; every view has the same lines as the file.
#[derive(Debug)]
pub struct Source {
    /// The file, relative to the repository's root, with forward slashes.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// The file with its comments blanked out.
    pub without_comments: String,
    /// The file with its comments blanked out and its literals dotted out.
    pub code: String,
}

impl Source {
    /// Scans one file.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let (without_comments, code) = scan(&text);
        Self { path, text, without_comments, code }
    }

    /// Returns whether the whole file is test or benchmark code.
    pub fn is_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.split('/').any(|part| part == "tests" || part == "benches")
                && !self.path.starts_with("benches/src/")
    }

    /// Returns the code without the items under `#[cfg(test)]`; empty for a test file.
    pub fn production_code(&self) -> String {
        if self.is_test_file() { String::new() } else { blank_test_items(&self.code) }
    }

    /// Returns the number of lines that hold code outside tests.
    pub fn code_lines(&self) -> usize {
        self.production_code().lines().filter(|line| !line.trim().is_empty()).count()
    }
}

/// Returns the line numbers, from 1, on which `name` stands as a whole word or path in `code`.
pub fn lines_with(code: &str, name: &str) -> Vec<usize> {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let names = |line: &str| {
        line.match_indices(name).any(|(at, _)| {
            !is_word(line[..at].chars().next_back()) && !is_word(line[at + name.len()..].chars().next())
        })
    };
    code.lines().enumerate().filter(|(_, line)| names(line)).map(|(index, _)| index + 1).collect()
}

/// What the scanner is inside of.
enum Inside {
    Code,
    LineComment,
    /// Block comments nest.
    BlockComment(usize),
    Text,
    /// Ends at a quote and this many hashes.
    RawText(usize),
}

fn scan(text: &str) -> (String, String) {
    let (mut without_comments, mut code) = (String::new(), String::new());
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (next, length) = step(&inside, rest, text[..at].chars().next_back());
        let in_comment = |state: &Inside| matches!(state, Inside::LineComment | Inside::BlockComment(_));
        let in_literal = |state: &Inside| matches!(state, Inside::Text | Inside::RawText(_));
        let is_char = matches!(inside, Inside::Code)
            && matches!(next, Inside::Code)
            && rest.starts_with('\'')
            && length > 1;
        let comment = in_comment(&inside) || in_comment(&next);
        let literal = in_literal(&inside) || in_literal(&next) || is_char;
        for c in rest[..length].chars() {
            let kept = if comment && c != '\n' { ' ' } else { c };
            without_comments.push(kept);
            code.push(if literal && !kept.is_whitespace() { '.' } else { kept });
        }
        inside = next;
        at += length;
    }
    (without_comments, code)
}

/// Returns what the scanner is inside of next, and how many bytes it has passed.
fn step(inside: &Inside, rest: &str, before: Option<char>) -> (Inside, usize) {
    let one = rest.chars().next().map_or(1, char::len_utf8);
    match inside {
        Inside::Code => step_in_code(rest, before, one),
        Inside::LineComment if rest.starts_with('\n') => (Inside::Code, one),
        Inside::LineComment => (Inside::LineComment, one),
        Inside::BlockComment(1) if rest.starts_with("*/") => (Inside::Code, 2),
        Inside::BlockComment(depth) if rest.starts_with("*/") => (Inside::BlockComment(depth - 1), 2),
        Inside::BlockComment(depth) if rest.starts_with("/*") => (Inside::BlockComment(depth + 1), 2),
        Inside::BlockComment(depth) => (Inside::BlockComment(*depth), one),
        Inside::Text if rest.starts_with('\\') => {
            (Inside::Text, rest.chars().take(2).map(char::len_utf8).sum())
        }
        Inside::Text if rest.starts_with('"') => (Inside::Code, one),
        Inside::Text => (Inside::Text, one),
        Inside::RawText(hashes) => {
            let closes =
                rest.starts_with('"') && rest[1..].chars().take_while(|c| *c == '#').count() >= *hashes;
            if closes { (Inside::Code, 1 + hashes) } else { (Inside::RawText(*hashes), one) }
        }
    }
}

fn step_in_code(rest: &str, before: Option<char>, one: usize) -> (Inside, usize) {
    let after_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (Inside::LineComment, 2);
    }
    if rest.starts_with("/*") {
        return (Inside::BlockComment(1), 2);
    }
    if rest.starts_with('"') {
        return (Inside::Text, 1);
    }
    // `br"…"` reaches this arm at its `r`, after the word character `b`.
    if let Some(tail) = rest.strip_prefix('r')
        && (!after_word || before == Some('b'))
    {
        let hashes = tail.chars().take_while(|c| *c == '#').count();
        if tail[hashes..].starts_with('"') {
            return (Inside::RawText(hashes), 2 + hashes);
        }
    }
    (Inside::Code, character_literal(rest).unwrap_or(one))
}

/// Returns the length of the character literal that `rest` begins with; a lifetime is none.
fn character_literal(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix('\'')?;
    if let Some(escaped) = tail.strip_prefix('\\') {
        let skip = escaped.chars().next()?.len_utf8();
        return escaped[skip..].find('\'').map(|end| 2 + skip + end + 1);
    }
    let c = tail.chars().next()?;
    tail[c.len_utf8()..].starts_with('\'').then(|| 2 + c.len_utf8())
}

/// Blanks each `#[cfg(test)]` and the item after it, to its closing brace or semicolon.
fn blank_test_items(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        let end = start + MARK.len() + item_length(&rest[start + MARK.len()..]);
        out.push_str(&rest[..start]);
        out.extend(rest[start..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    out + rest
}

fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a/src/lib.rs", text).code
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        assert_eq!(code("a(); // unsafe"), "a();          ");
        assert_eq!(code("a(/* x /* unsafe */ y */);"), "a(                      );");
        assert_eq!(code(r#"a("un\"safe", b'"', c);"#), "a(.........., b..., c);");
        assert_eq!(code("a(r#\"un\"safe\"#);"), "a(............);");
        assert_eq!(code("fn f<'a>(x: &'a str) { '{' }").matches('{').count(), 1);
        assert_eq!(code("let x = '\\''; unsafe"), "let x = ....; unsafe");
    }

    #[test]
    fn a_name_is_found_as_a_whole_word_only() {
        assert_eq!(lines_with("unsafe_code\nx unsafe {\nnotunsafe", "unsafe"), [2]);
        assert_eq!(lines_with("net::TcpStream::connect(a)", "TcpStream::connect"), [1]);
    }

    #[test]
    fn test_items_do_not_count_as_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests;\nfn b() {}\n#[cfg(test)]\nmod inline {\n  fn c() { {} }\n}\nfn d() {}\n";
        let source = Source::new("a/src/lib.rs", text);
        assert_eq!(source.code_lines(), 3);
        assert_eq!(source.production_code().lines().count(), text.lines().count());
        assert_eq!(Source::new("a/tests/it.rs", text).code_lines(), 0);
    }
}
