//! Event streams: every line end, every split, and the bytes of each frame.

use proptest::prelude::*;
use wire::sse::{Frame, Reader, SseError, Tail, encode_data};

/// Reads `pieces` to the end: all frames, and the bytes of a cut one.
fn read_all<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Vec<u8>) {
    let mut reader = Reader::new(1 << 20);
    let mut frames = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(frame) = reader.next_frame().expect("within the limit") {
            frames.push(frame);
        }
    }
    match reader.finish() {
        Tail::Clean => (frames, Vec::new()),
        Tail::Frame(frame) => {
            frames.push(frame);
            (frames, Vec::new())
        }
        Tail::Cut(rest) => (frames, rest.to_vec()),
    }
}

/// The events of `text` as (name, data).
fn events(text: &[u8]) -> Vec<(Option<String>, String)> {
    let (frames, _) = read_all([text]);
    let events = frames.into_iter().filter_map(|frame| frame.event);
    events.map(|event| (event.name().map(str::to_owned), event.data().to_owned())).collect()
}

fn data(text: &[u8]) -> Vec<String> {
    events(text).into_iter().map(|(_, data)| data).collect()
}

#[test]
fn all_three_line_ends_dispatch() {
    for end in ["\n", "\r", "\r\n"] {
        let text = format!("data: a{end}{end}data: b{end}data: c{end}{end}");
        assert_eq!(data(text.as_bytes()), ["a", "b\nc"], "{end:?}");
    }
    assert_eq!(data(b"data: a\r\n\ndata: b\n\r\ndata: c\r\r"), ["a", "b", "c"]);
}

#[test]
fn one_space_after_the_colon_is_dropped_and_only_one() {
    assert_eq!(data(b"data:a\n\ndata: a\n\ndata:  a\n\ndata\n\ndata:\n\n"), ["a", "a", " a", "", ""]);
}

#[test]
fn comments_and_other_fields_make_no_event() {
    let (frames, rest) = read_all([&b": ping\n\nid: 7\nretry: 5\n\nevent: x\n\n\n"[..]]);
    assert_eq!(frames.len(), 4);
    assert!(frames.iter().all(|frame| frame.event.is_none()) && rest.is_empty());
}

#[test]
fn an_event_name_belongs_to_its_own_event_only() {
    let named = Some("delta".to_owned());
    assert_eq!(
        events(b"event: delta\ndata: a\n\ndata: b\n\nevent:\ndata: c\n\n"),
        [(named, "a".into()), (None, "b".into()), (None, "c".into())]
    );
}

#[test]
fn a_byte_order_mark_is_dropped_at_the_start_only() {
    assert_eq!(data("\u{feff}data: a\n\n".as_bytes()), ["a"]);
    assert_eq!(data("data: a\n\n\u{feff}data: b\n\n".as_bytes()), ["a"]);
}

#[test]
fn separators_of_other_standards_do_not_end_a_line() {
    assert_eq!(data("data: a\u{2028}b\u{85}c\u{b}d\n\n".as_bytes()), ["a\u{2028}b\u{85}c\u{b}d"]);
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_still_forwarded_as_they_came() {
    let (frames, _) = read_all([&b"data: a\xffb\n\n"[..]]);
    assert_eq!(frames[0].event.as_ref().unwrap().data(), "a\u{fffd}b");
    assert_eq!(&frames[0].raw[..], b"data: a\xffb\n\n");
}

#[test]
fn an_event_is_given_out_with_its_last_byte() {
    for (text, end) in [("data: a\n", "\n"), ("data: a\r", "\r"), ("data: a\r\n\r", "\n")] {
        let mut reader = Reader::new(100);
        reader.push(text.as_bytes());
        assert_eq!(reader.next_frame(), Ok(None), "{text:?}");
        reader.push(end.as_bytes());
        assert!(matches!(reader.next_frame(), Ok(Some(Frame { event: Some(_), .. }))), "{text:?}");
    }
}

#[test]
fn a_cut_event_is_no_event() {
    for text in ["data: a", "data: a\n", "data: a\r\n", "data: a\r", ": ping\n"] {
        let (frames, rest) = read_all([text.as_bytes()]);
        assert_eq!((frames.len(), rest), (0, text.as_bytes().to_vec()), "{text:?}");
    }
}

#[test]
fn a_blank_line_of_one_cr_ends_the_last_event_at_the_end_of_the_stream() {
    let (frames, rest) = read_all([&b"data: a\r\n\r"[..]]);
    assert_eq!(frames[0].event.as_ref().unwrap().data(), "a");
    assert!(rest.is_empty());
}

#[test]
fn an_event_may_be_as_large_as_the_limit_and_no_larger() {
    let text = b"data: 345678\n\n";
    let mut reader = Reader::new(text.len());
    reader.push(text);
    assert!(matches!(reader.next_frame(), Ok(Some(_))));

    let too_large = Err(SseError::TooLarge { limit_bytes: text.len() - 1 });
    let mut whole = Reader::new(text.len() - 1);
    whole.push(text);
    assert_eq!(whole.next_frame(), too_large);
    assert_eq!(whole.next_frame(), too_large, "the fault stays");

    let mut endless = Reader::new(text.len() - 1);
    endless.push(&text[..text.len() - 1]);
    assert_eq!(endless.next_frame(), Ok(None));
    endless.push(b"x");
    assert_eq!(endless.next_frame(), too_large, "an end need not come for the limit to hold");
}

#[test]
fn frames_before_a_too_large_one_are_still_given_out() {
    let mut reader = Reader::new(12);
    reader.push(b"data: a\n\ndata: 0123456789\n\n");
    assert!(matches!(reader.next_frame(), Ok(Some(_))));
    assert!(reader.next_frame().is_err());
}

#[test]
fn content_cannot_forge_an_event() {
    let written = encode_data(b"a\n\ndata: [DONE]\r\revent: x");
    assert_eq!(data(&written), ["a\n\ndata: [DONE]\n\nevent: x"]);
    assert_eq!(&encode_data(b"")[..], b"data: \n\n");
}

/// Bytes that are dense in what matters to the reader.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"\n"[..]),
        Just(&b"\r"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"data"[..]),
        Just(&b":"[..]),
        Just(&b" "[..]),
        Just(&b"event: e"[..]),
        Just(&b"x"[..]),
        Just("é\u{feff}🦀".as_bytes()),
        Just(&b"\xff"[..]),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_split_gives_the_same_frames_and_loses_no_byte(
        text in stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = read_all([&text[..]]);
        let bytewise = read_all(text.chunks(1));
        prop_assert_eq!(&bytewise, &whole);

        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let split = read_all(at.windows(2).map(|pair| &text[pair[0]..pair[1]]));
        prop_assert_eq!(&split, &whole);

        let (frames, rest) = whole;
        let mut joined: Vec<u8> = frames.iter().flat_map(|frame| frame.raw.to_vec()).collect();
        joined.extend(rest);
        prop_assert_eq!(joined, text);
    }

    #[test]
    fn line_ends_do_not_change_the_events(lines in proptest::collection::vec("(data: ?[a-z]{0,3}|: c|event: [a-z])?", 0..12)) {
        let written = |end: &str| lines.iter().flat_map(|line| [line.as_str(), end]).collect::<String>();
        let expected = events(written("\n").as_bytes());
        prop_assert_eq!(&events(written("\r\n").as_bytes()), &expected);
        prop_assert_eq!(&events(written("\r").as_bytes()), &expected);
    }

    #[test]
    fn what_is_written_is_read_back(text in "[a-z:\n é]{0,40}") {
        prop_assert_eq!(data(&encode_data(text.as_bytes())), vec![text]);
    }
}
