//! The values of headers: nine types on the wire, each a number and its bytes.

use bytes::{BufMut, BytesMut};

use super::EventStreamError;

/// The value of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// True or false, by its type alone.
    Bool(bool),
    /// 8 bits.
    Byte(i8),
    /// 16 bits.
    Short(i16),
    /// 32 bits.
    Int(i32),
    /// 64 bits.
    Long(i64),
    /// At most 65,535 bytes.
    Bytes(&'a [u8]),
    /// UTF-8, at most 65,535 bytes.
    Text(&'a str),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    /// 16 bytes.
    Uuid([u8; 16]),
}

impl<'a> Value<'a> {
    /// Takes a type and its value from the front of `bytes`.
    pub(super) fn take(bytes: &mut &'a [u8]) -> Result<Self, EventStreamError> {
        let [kind] = fixed(bytes)?;
        Ok(match kind {
            0 => Self::Bool(true),
            1 => Self::Bool(false),
            2 => Self::Byte(i8::from_be_bytes(fixed(bytes)?)),
            3 => Self::Short(i16::from_be_bytes(fixed(bytes)?)),
            4 => Self::Int(i32::from_be_bytes(fixed(bytes)?)),
            5 => Self::Long(i64::from_be_bytes(fixed(bytes)?)),
            6 => Self::Bytes(counted(bytes)?),
            7 => Self::Text(text(counted(bytes)?)?),
            8 => Self::Timestamp(i64::from_be_bytes(fixed(bytes)?)),
            9 => Self::Uuid(fixed(bytes)?),
            _ => return Err(EventStreamError::Header),
        })
    }

    /// Appends the type and the value.
    ///
    /// # Panics
    /// If bytes or a text are longer than 65,535 bytes.
    pub(super) fn put(&self, out: &mut BytesMut) {
        match *self {
            Self::Bool(value) => out.put_u8(u8::from(!value)),
            Self::Byte(value) => out.put_slice(&[2, value.to_be_bytes()[0]]),
            Self::Short(value) => put_fixed(out, 3, &value.to_be_bytes()),
            Self::Int(value) => put_fixed(out, 4, &value.to_be_bytes()),
            Self::Long(value) => put_fixed(out, 5, &value.to_be_bytes()),
            Self::Bytes(value) => put_counted(out, 6, value),
            Self::Text(value) => put_counted(out, 7, value.as_bytes()),
            Self::Timestamp(value) => put_fixed(out, 8, &value.to_be_bytes()),
            Self::Uuid(value) => put_fixed(out, 9, &value),
        }
    }
}

/// Takes `N` bytes.
pub(super) fn fixed<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], EventStreamError> {
    let (value, rest) = bytes.split_first_chunk().ok_or(EventStreamError::Lengths)?;
    *bytes = rest;
    Ok(*value)
}

/// Takes `len` bytes.
pub(super) fn slice<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], EventStreamError> {
    let (value, rest) = bytes.split_at_checked(len).ok_or(EventStreamError::Lengths)?;
    *bytes = rest;
    Ok(value)
}

/// Reads UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, EventStreamError> {
    std::str::from_utf8(bytes).map_err(|_| EventStreamError::Header)
}

fn counted<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], EventStreamError> {
    let len = usize::from(u16::from_be_bytes(fixed(bytes)?));
    slice(bytes, len)
}

fn put_fixed(out: &mut BytesMut, kind: u8, value: &[u8]) {
    out.put_u8(kind);
    out.put_slice(value);
}

fn put_counted(out: &mut BytesMut, kind: u8, value: &[u8]) {
    out.put_u8(kind);
    out.put_u16(u16::try_from(value.len()).expect("what we write into a header is short"));
    out.put_slice(value);
}
