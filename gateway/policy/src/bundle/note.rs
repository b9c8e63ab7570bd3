//! Signed notes as C2SP specifies them: a text, an empty line, and one line for each signature.
//!
//! ```text
//! the text, of one or more lines
//!
//! — corp.example/security base64(id || signature)
//! ```
//!
//! Here is the syntax alone; whose signatures count is for [`Trust`](super::Trust). Text that cannot be written
//! back byte for byte is not read, so a note has one form. <https://c2sp.org/signed-note>

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::key::{SignerId, SigningKey, VerifierKey, is_name};

/// What a line with a signature begins with: an em dash and a space.
const DASH: &str = "— ";

/// Largest signed note, in bytes; a manifest of the most files stays below it.
pub const NOTE_BYTES_MAX: usize = 1 << 20;

/// Most signatures of a note. The specification asks for at least 16.
const SIGNATURES_MAX: usize = 64;

/// Why a text is no signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteError {
    /// There is no signature in it.
    Unsigned,
    /// It is not in the form of a note.
    Malformed(&'static str),
}

/// One line with a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) name: String,
    pub(crate) id: SignerId,
    pub(crate) bytes: Vec<u8>,
}

impl Signature {
    pub(crate) fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name() && self.id == key.id()
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = BASE64.decode(signature).ok()?;
        let (id, bytes) = bytes.split_first_chunk()?;
        let whole = is_name(name) && !bytes.is_empty();
        whole.then(|| Self { name: name.to_owned(), id: SignerId(*id), bytes: bytes.to_vec() })
    }
}

/// A text and its signatures, none of which has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: String,
    pub(crate) signatures: Vec<Signature>,
}

impl Note {
    /// Reads a note.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Malformed("it is larger than 1 MiB"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Malformed("it holds a control character"));
        }
        let Some(last) = note.rfind("\n\n") else {
            let signed = note.lines().any(|line| line.starts_with(DASH));
            return Err(if signed {
                NoteError::Malformed("there is no empty line before the signatures")
            } else {
                NoteError::Unsigned
            });
        };
        let (text, lines) = (&note[..=last], &note[last + 2..]);
        if lines.is_empty() {
            return Err(NoteError::Unsigned);
        }
        let Some(lines) = lines.strip_suffix('\n') else {
            return Err(NoteError::Malformed("its last line is cut"));
        };
        if lines.split('\n').count() > SIGNATURES_MAX {
            return Err(NoteError::Malformed("it has more than 64 signatures"));
        }
        let signatures: Option<Vec<Signature>> = lines.split('\n').map(Signature::parse).collect();
        let signatures = signatures.ok_or(NoteError::Malformed("a line after the text is no signature"))?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Adds the signature of `key`, in the place of an earlier one of the same key.
    pub(crate) fn sign(&mut self, key: &SigningKey) {
        let by = key.verifier();
        self.signatures.retain(|signature| !signature.is_by(by));
        let bytes = key.sign(&self.text);
        self.signatures.push(Signature { name: by.name().to_owned(), id: by.id(), bytes });
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|Signature { name, id, bytes }| {
            writeln!(f, "{DASH}{name} {}", BASE64.encode([id.0.as_slice(), bytes].concat()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts, keys and signatures with which Go's `sumdb/note` is tested: facts that must come out the same.
    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n";
    const PETER: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const PETER_SIGNS: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const ENOCH: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
    const ENOCH_KEY: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";

    #[test]
    fn what_go_signs_verifies_and_is_signed_alike() {
        let mut note = Note { text: TEXT.to_owned(), signatures: Vec::new() };
        let peter = SigningKey::parse(PETER_SIGNS).unwrap();
        note.sign(&peter);
        assert_eq!(note.to_string(), format!("{TEXT}\n{PETER}"));
        note.sign(&peter);
        assert_eq!(note.signatures.len(), 1, "a key signs once");

        let both = format!("{TEXT}\n{PETER}{ENOCH}");
        let note = Note::parse(both.as_bytes()).unwrap();
        assert_eq!(note.to_string(), both);
        let enoch = VerifierKey::parse(ENOCH_KEY).unwrap();
        assert!(peter.verifier().verifies(&note.text, &note.signatures[0].bytes));
        assert!(enoch.verifies(&note.text, &note.signatures[1].bytes));
        assert!(!enoch.verifies(&note.text, &note.signatures[0].bytes));
    }

    #[test]
    fn the_example_of_the_specification_is_a_note() {
        let example = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
            — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
        let note = Note::parse(example.as_bytes()).unwrap();
        assert!(note.text.ends_with("\n\ned è subito sera.\n"), "the last empty line separates");
        assert_eq!(note.signatures[0].id.to_string(), "367ba04b");
        assert_eq!(note.signatures[0].bytes.len(), 64);
        assert_eq!(note.to_string(), example);
    }

    #[test]
    fn what_is_no_note_says_why() {
        let unsigned = [String::new(), TEXT.to_owned(), format!("{TEXT}\n"), "\n\n".to_owned()];
        for text in unsigned {
            assert_eq!(Note::parse(text.as_bytes()), Err(NoteError::Unsigned), "{text:?}");
        }
        for text in [
            format!("{TEXT}\n{}", PETER.trim_end()),
            format!("{TEXT}{PETER}"),
            format!("\u{1}{TEXT}\n{PETER}"),
            format!("{TEXT}\r\n{PETER}"),
            format!("{TEXT}\n{PETER}Unexpected line.\n"),
            format!("{TEXT}\n{}", PETER.replace("PeterNeumann", "Bad Name")),
            format!("{TEXT}\n{}", PETER.replace("PeterNeumann", "Bad+Name")),
            format!("{TEXT}\n{}", PETER.replace("PeterNeumann", "")),
            format!("{TEXT}\n{}", PETER.replace('—', "-")),
            // The last digit before the padding has two bits that say nothing.
            format!("{TEXT}\n{}", PETER.replace("nAM=", "nAN=")),
            format!("{TEXT}\n— PeterNeumann x08gow==\n"),
            format!("{TEXT}\n{}", PETER.repeat(SIGNATURES_MAX + 1)),
            format!("{}\n\n{PETER}", "x".repeat(NOTE_BYTES_MAX)),
        ] {
            let error = Note::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, NoteError::Malformed(_)), "{error:?}");
        }
        let invalid = [b"\xff", TEXT.as_bytes(), b"\n", PETER.as_bytes()].concat();
        assert_eq!(Note::parse(&invalid), Err(NoteError::Malformed("it is not UTF-8")));
        let most = format!("{TEXT}\n{}", PETER.repeat(SIGNATURES_MAX));
        assert_eq!(Note::parse(most.as_bytes()).unwrap().signatures.len(), SIGNATURES_MAX);
    }
}
