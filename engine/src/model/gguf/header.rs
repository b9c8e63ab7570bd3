//! Reads the head of a GGUF file: its metadata, and where its tensors lie.
//!
//! A file is not trusted. Every length in it is compared with the bytes that are left before anything is
//! allocated, so a damaged or hostile file costs at most a few times the bytes of its head, and is an error and
//! never a panic. Deliberately absent: version 1 and big-endian files, which nobody writes any more, and lists of
//! lists, which no known key has.

use std::collections::BTreeMap;

use super::value::{List, Value};

/// Longest head, in bytes; the largest vocabularies with their merges take less than a tenth of it.
const HEAD_BYTES_MAX: usize = 256 << 20;
/// Dimensions of a tensor.
const DIMENSIONS_MAX: u32 = 4;
/// What the offsets of tensors are a multiple of if the file does not say so.
const ALIGNMENT_DEFAULT: u64 = 32;
/// The largest alignment that makes sense, in bytes: a huge page.
const ALIGNMENT_MAX: u64 = 2 << 20;

/// Why a file is not readable as GGUF.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The file begins with other bytes.
    #[error("it does not begin as a GGUF file does")]
    NotGguf,
    /// A version that is not read.
    #[error("it is of GGUF version {0}; 2 and 3 are read: convert the model again")]
    Version(u32),
    /// The file ends before what it announces.
    #[error("it ends inside {0}: fetch it again")]
    Cut(&'static str),
    /// A part has a value that no converter writes.
    #[error("{0}: fetch it again, or convert the model again")]
    Invalid(String),
}

/// The head of one file.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: Vec<Info>,
}

/// One tensor as the head describes it.
#[derive(Debug)]
pub(super) struct Info {
    pub(super) name: String,
    /// Outermost dimension first, as everywhere here; files have it last.
    pub(super) shape: Vec<usize>,
    /// The number of its type.
    pub(super) kind: u32,
    /// Where it begins, in bytes from the beginning of the file.
    pub(super) start: usize,
}

/// Reads the head of a file from all of its bytes.
pub(super) fn read(file: &[u8]) -> Result<Head, GgufError> {
    let mut cursor = Cursor { file, at: 0, end: file.len().min(HEAD_BYTES_MAX) };
    if cursor.take(4, "its first bytes").ok() != Some(b"GGUF") {
        return Err(GgufError::NotGguf);
    }
    let version = u32::from_le_bytes(cursor.array("its version")?);
    if !matches!(version, 2 | 3) {
        return Err(GgufError::Version(version));
    }
    let tensor_count = cursor.length("the number of tensors")?;
    let value_count = cursor.length("the number of values")?;
    let mut metadata = BTreeMap::new();
    for _ in 0..value_count {
        let key = cursor.text("a key")?;
        let kind = u32::from_le_bytes(cursor.array("a type")?);
        let value = cursor.value(kind)?;
        if metadata.contains_key(&key) {
            return Err(GgufError::Invalid(format!("{key} is there twice")));
        }
        metadata.insert(key, value);
    }
    let alignment = metadata.get("general.alignment").map_or(Some(ALIGNMENT_DEFAULT), Value::as_size);
    let alignment = alignment
        .filter(|bytes| bytes.is_power_of_two() && *bytes <= ALIGNMENT_MAX)
        .ok_or_else(|| GgufError::Invalid("general.alignment is no small power of two".to_owned()))?;
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(cursor.tensor(alignment)?);
    }
    let data = cursor.at.next_multiple_of(alignment as usize);
    for tensor in &mut tensors {
        tensor.start = tensor.start.checked_add(data).ok_or(GgufError::Cut("a tensor"))?;
    }
    Ok(Head { metadata, tensors })
}

/// A place in the head; nothing is read beyond `end`.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], GgufError> {
        if count > self.end - self.at {
            return Err(GgufError::Cut(what));
        }
        let bytes = &self.file[self.at..self.at + count];
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        Ok(self.take(N, what)?.try_into().expect("as many bytes as were asked for"))
    }

    /// A number of things that each take at least a byte of the head.
    fn length(&mut self, what: &'static str) -> Result<usize, GgufError> {
        let count = u64::from_le_bytes(self.array(what)?);
        usize::try_from(count).ok().filter(|count| *count <= self.end - self.at).ok_or(GgufError::Cut(what))
    }

    /// Converters do not agree on whether a text ends with a zero; bytes that are no UTF-8 become U+FFFD.
    fn text(&mut self, what: &'static str) -> Result<String, GgufError> {
        let count = self.length(what)?;
        let bytes = self.take(count, what)?;
        Ok(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
    }

    fn value(&mut self, kind: u32) -> Result<Value, GgufError> {
        const WHAT: &str = "a value";
        Ok(match kind {
            0 => Value::Whole(i128::from(u8::from_le_bytes(self.array(WHAT)?))),
            1 => Value::Whole(i128::from(i8::from_le_bytes(self.array(WHAT)?))),
            2 => Value::Whole(i128::from(u16::from_le_bytes(self.array(WHAT)?))),
            3 => Value::Whole(i128::from(i16::from_le_bytes(self.array(WHAT)?))),
            4 => Value::Whole(i128::from(u32::from_le_bytes(self.array(WHAT)?))),
            5 => Value::Whole(i128::from(i32::from_le_bytes(self.array(WHAT)?))),
            6 => Value::Number(f64::from(f32::from_le_bytes(self.array(WHAT)?))),
            7 => Value::Flag(self.flag()?),
            8 => Value::Text(self.text(WHAT)?),
            9 => Value::List(self.list()?),
            10 => Value::Whole(i128::from(u64::from_le_bytes(self.array(WHAT)?))),
            11 => Value::Whole(i128::from(i64::from_le_bytes(self.array(WHAT)?))),
            12 => Value::Number(f64::from_le_bytes(self.array(WHAT)?)),
            other => return Err(GgufError::Invalid(format!("there is no type of value {other}"))),
        })
    }

    fn flag(&mut self) -> Result<bool, GgufError> {
        match self.array("a value")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(GgufError::Invalid(format!("a flag is {other}"))),
        }
    }

    fn list(&mut self) -> Result<List, GgufError> {
        let kind = u32::from_le_bytes(self.array("the type of a list")?);
        let count = self.length("the length of a list")?;
        Ok(match kind {
            0 => List::Whole(self.numbers(count, |[byte]: [u8; 1]| i64::from(byte))?),
            1 => List::Whole(self.numbers(count, |byte| i64::from(i8::from_le_bytes(byte)))?),
            2 => List::Whole(self.numbers(count, |two| i64::from(u16::from_le_bytes(two)))?),
            3 => List::Whole(self.numbers(count, |two| i64::from(i16::from_le_bytes(two)))?),
            4 => List::Whole(self.numbers(count, |four| i64::from(u32::from_le_bytes(four)))?),
            5 => List::Whole(self.numbers(count, |four| i64::from(i32::from_le_bytes(four)))?),
            6 => List::Numbers(self.numbers(count, f32::from_le_bytes)?),
            7 => List::Flags((0..count).map(|_| self.flag()).collect::<Result<_, _>>()?),
            8 => List::Texts((0..count).map(|_| self.text("a list")).collect::<Result<_, _>>()?),
            10 | 11 => List::Whole(self.numbers(count, i64::from_le_bytes)?),
            12 => List::Numbers(self.numbers(count, |eight| f64::from_le_bytes(eight) as f32)?),
            other => return Err(GgufError::Invalid(format!("lists of type {other} are not read"))),
        })
    }

    fn numbers<T, const N: usize>(
        &mut self,
        count: usize,
        convert: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, GgufError> {
        let bytes = self.take(count.checked_mul(N).ok_or(GgufError::Cut("a list"))?, "a list")?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| convert(*bytes)).collect())
    }

    /// A tensor with its place counted from where the data begin.
    fn tensor(&mut self, alignment: u64) -> Result<Info, GgufError> {
        const WHAT: &str = "the list of tensors";
        let name = self.text(WHAT)?;
        let dimensions = u32::from_le_bytes(self.array(WHAT)?);
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            return Err(GgufError::Invalid(format!("tensor {name} has {dimensions} dimensions")));
        }
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            let length = u64::from_le_bytes(self.array(WHAT)?);
            shape.push(usize::try_from(length).map_err(|_| GgufError::Cut("a tensor"))?);
        }
        shape.reverse();
        let kind = u32::from_le_bytes(self.array(WHAT)?);
        let start = u64::from_le_bytes(self.array(WHAT)?);
        if !start.is_multiple_of(alignment) {
            return Err(GgufError::Invalid(format!(
                "tensor {name} does not begin at a multiple of {alignment}"
            )));
        }
        let start = usize::try_from(start).map_err(|_| GgufError::Cut("a tensor"))?;
        Ok(Info { name, shape, kind, start })
    }
}
