//! AWS event streams: every type of header, every split, every flipped bit.

use proptest::prelude::*;
use wire::eventstream::{
    EventStreamError, Reader, Tail, Value, decode, encode, encode_event, encode_exception,
};

/// An event as (name, data).
type Named = (Option<String>, String);

/// Reads `pieces` to the end: the events, and whether the last message was whole.
fn read_all<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<Named>, Tail), EventStreamError> {
    let mut reader = Reader::new(1 << 20);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(event) = reader.next_event()? {
            events.push((event.name().map(str::to_owned), event.data().to_owned()));
        }
    }
    Ok((events, reader.finish()))
}

fn named(name: &str, data: &str) -> Named {
    (Some(name.to_owned()), data.to_owned())
}

/// The lengths and checksums of a message with the one header `:event-type: x`, worked out by hand.
#[test]
fn the_bytes_of_a_message_are_those_of_the_specification() {
    let bytes = encode(&[("a", Value::Text("b"))], b"{}");
    assert_eq!(&bytes[..8], [0, 0, 0, 24, 0, 0, 0, 6]);
    assert_eq!(&bytes[12..20], [1, b'a', 7, 0, 1, b'b', b'{', b'}']);
    assert_eq!(bytes[8..12], crc32fast::hash(&bytes[..8]).to_be_bytes());
    assert_eq!(bytes[20..], crc32fast::hash(&bytes[..20]).to_be_bytes());
}

/// From the test vectors of the AWS SDKs: an empty message, and their example with one header of type int.
#[test]
fn published_messages_are_read() {
    let empty = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
    let messages = decode(&empty).expect("a published message");
    assert!(messages[0].headers.is_empty() && messages[0].payload.is_empty());
    assert_eq!(&encode(&[], b"")[..], empty);
}

#[test]
fn each_class_of_message_has_its_name() {
    let error = [
        (":message-type", Value::Text("error")),
        (":error-code", Value::Text("InternalFailure")),
        (":error-message", Value::Text("try \"later\"")),
    ];
    let stream = [
        encode_event("messageStart", r#"{"role":"assistant"}"#),
        encode_exception("throttlingException", r#"{"message":"slow"}"#),
        encode(&error, b""),
        encode(&[], b"x"),
    ];
    let (events, tail) = read_all(stream.iter().map(|bytes| &bytes[..])).expect("a stream");
    assert_eq!(
        events,
        [
            named("messageStart", r#"{"role":"assistant"}"#),
            named("exception.throttlingException", r#"{"message":"slow"}"#),
            named("error.InternalFailure", r#"{"message":"try \"later\""}"#),
            (None, "x".to_owned()),
        ]
    );
    assert_eq!(tail, Tail::Clean);
}

#[test]
fn a_message_may_be_as_large_as_the_limit_and_no_larger() {
    let bytes = encode_event("x", "{}");
    let mut reader = Reader::new(bytes.len());
    reader.push(&bytes);
    assert!(matches!(reader.next_event(), Ok(Some(_))));

    let limit_bytes = bytes.len() - 1;
    let mut reader = Reader::new(limit_bytes);
    reader.push(&bytes[..12]);
    let too_large = EventStreamError::TooLarge { limit_bytes };
    assert_eq!(reader.next_event(), Err(too_large), "the prelude alone tells");
    reader.push(&bytes[12..]);
    assert_eq!(reader.next_event(), Err(too_large), "the fault stays");
}

#[test]
fn more_headers_than_any_real_message_has_are_refused() {
    let headers = vec![("a", Value::Bool(true)); 65];
    assert!(decode(&encode(&headers[..64], b"")).is_ok());
    assert_eq!(decode(&encode(&headers, b"")), Err(EventStreamError::TooManyHeaders { limit: 64 }));
    let long = "x".repeat(60_000);
    let headers = vec![("a", Value::Text(&long)); 3];
    assert_eq!(decode(&encode(&headers, b"")), Err(EventStreamError::Lengths), "128 KiB of headers");
}

/// A message whose checksums are right and whose headers are `headers`.
fn forged(headers: &[u8]) -> Vec<u8> {
    let total = u32::try_from(16 + headers.len()).expect("short");
    let mut bytes =
        [total.to_be_bytes(), u32::try_from(headers.len()).expect("short").to_be_bytes()].concat();
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend(headers);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

#[test]
fn headers_that_contradict_themselves_are_errors() {
    let check = |headers: &[u8], expected| assert_eq!(decode(&forged(headers)), Err(expected), "{headers:?}");
    check(&[1, b'a', 10], EventStreamError::Header);
    check(&[1, 0xff, 0], EventStreamError::Header);
    check(&[1, b'a', 7, 0, 1, 0xff], EventStreamError::Header);
    check(&[2, b'a'], EventStreamError::Lengths);
    check(&[1, b'a', 7, 0, 2, b'x'], EventStreamError::Lengths);
    check(&[1, b'a', 9, 0, 2, b'x'], EventStreamError::Lengths);
    check(&[1, b'a'], EventStreamError::Lengths);
}

#[test]
fn lengths_that_contradict_themselves_are_errors() {
    for (total, headers) in [(15u32, 0u32), (0, 0), (16, 1), (u32::MAX, u32::MAX)] {
        let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        assert_eq!(decode(&bytes), Err(EventStreamError::Lengths), "{total} {headers}");
    }
}

fn value() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<bool>().prop_map(Owned::Bool),
        any::<i8>().prop_map(Owned::Byte),
        any::<i16>().prop_map(Owned::Short),
        any::<i32>().prop_map(Owned::Int),
        any::<i64>().prop_map(Owned::Long),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Owned::Bytes),
        "[a-zé]{0,12}".prop_map(Owned::Text),
        any::<i64>().prop_map(Owned::Timestamp),
        any::<[u8; 16]>().prop_map(Owned::Uuid),
    ]
}

#[derive(Debug, Clone)]
enum Owned {
    Bool(bool),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Bytes(Vec<u8>),
    Text(String),
    Timestamp(i64),
    Uuid([u8; 16]),
}

impl Owned {
    fn borrow(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Byte(value) => Value::Byte(*value),
            Self::Short(value) => Value::Short(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Long(value) => Value::Long(*value),
            Self::Bytes(value) => Value::Bytes(value),
            Self::Text(value) => Value::Text(value),
            Self::Timestamp(value) => Value::Timestamp(*value),
            Self::Uuid(value) => Value::Uuid(*value),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_written_is_read_back(
        headers in proptest::collection::vec(("[a-z:-]{1,12}", value()), 0..8),
        payload in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.borrow())).collect();
        let bytes = encode(&headers, &payload);
        let twice = [&bytes[..], &bytes[..]].concat();
        let messages = decode(&twice).expect("what was written");
        prop_assert_eq!(messages.len(), 2);
        prop_assert_eq!(&messages[1].headers, &headers);
        prop_assert_eq!(messages[1].payload, &payload[..]);
    }

    #[test]
    fn any_split_gives_the_same_events(
        datas in proptest::collection::vec("[a-zé]{0,12}", 0..5),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = datas.iter().flat_map(|data| encode_event("x", data).to_vec()).collect::<Vec<_>>();
        let expected: Vec<_> = datas.iter().map(|data| named("x", data)).collect();
        prop_assert_eq!(&read_all(stream.chunks(1)), &Ok((expected.clone(), Tail::Clean)));

        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        prop_assert_eq!(read_all(at.windows(2).map(|pair| &stream[pair[0]..pair[1]])), Ok((expected, Tail::Clean)));
    }

    #[test]
    fn any_flipped_bit_is_found(data in "[a-z]{0,20}", bit in any::<prop::sample::Index>()) {
        let mut bytes = encode_event("x", &data).to_vec();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(decode(&bytes), Err(EventStreamError::Checksum));
        prop_assert_eq!(read_all([&bytes[..]]), Err(EventStreamError::Checksum));
    }

    #[test]
    fn a_cut_message_is_no_event(data in "[a-z]{0,20}", end in any::<prop::sample::Index>()) {
        let bytes = encode_event("x", &data);
        let end = 1 + end.index(bytes.len() - 1);
        prop_assert_eq!(read_all([&bytes[..end]]), Ok((vec![], Tail::Cut)));
        prop_assert_eq!(decode(&bytes[..end]), Err(EventStreamError::Truncated));
    }

    #[test]
    fn any_bytes_are_messages_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&forged(&bytes));
        let _ = read_all([&bytes[..]]);
    }
}
