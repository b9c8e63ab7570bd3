//! A provider's stream: its bytes handed on as they are, or read as deltas, with the one end that each may have.

use axum::http::StatusCode;
use bytes::BytesMut;
use egress::Body;
use futures_util::StreamExt;
use routing::Failure;
use wire::reply::{Delta, Unreadable};
use wire::sse::Frame;
use wire::{Api, Delivery, Request, StreamReader, UsageChunk};

use super::frames::Frames;
use super::streaming::{Step, is_decisive};
use super::upstream::{cut_error, unreadable_error};
use super::way::Way;
use crate::error::ApiError;

/// A provider's stream.
pub(super) struct UpstreamSource {
    body: Option<Body>,
    /// Nothing once the end has come.
    frames: Option<Frames>,
    reader: StreamReader,
    passage: Passage,
    /// Something of the answer itself has come.
    has_spoken: bool,
    /// The provider reported an error, and it passed through.
    has_faulted: bool,
    has_ended: bool,
    /// What went wrong behind bytes that are still to be handed on.
    failure: Option<ApiError>,
}

/// What becomes of the provider's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// They go on as they are, but for the usage that the gateway alone asked for.
    Whole(UsageChunk),
    /// They are read, and something else is written.
    Translated,
}

impl UpstreamSource {
    /// Of the answer `body` to `request`, which went `way`.
    pub(super) fn new(body: Body, way: &Way, request: &Request) -> Self {
        let passage = match request.delivery {
            _ if !way.passes => Passage::Translated,
            Delivery::Stream(usage_chunk) => Passage::Whole(usage_chunk),
            Delivery::Whole => Passage::Whole(UsageChunk::Wanted),
        };
        Self {
            body: Some(body),
            frames: Some(Frames::new(way.api.framing())),
            reader: way.api.stream_reader(),
            passage,
            has_spoken: false,
            has_faulted: false,
            has_ended: false,
            failure: None,
        }
    }

    /// A source that has given everything.
    pub(super) fn over() -> Self {
        Self {
            body: None,
            frames: None,
            reader: Api::Completions.stream_reader(),
            passage: Passage::Translated,
            has_spoken: false,
            has_faulted: false,
            has_ended: true,
            failure: None,
        }
    }

    pub(super) fn has_faulted(&self) -> bool {
        self.has_faulted
    }

    /// Waits for more of the stream. Cancel safe: bytes that were read are in the frames' reader.
    pub(super) async fn next(&mut self, deltas: &mut Vec<Delta>) -> Result<Step, ApiError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let piece = match &mut self.body {
            Some(body) => body.next().await,
            None => None,
        };
        let mut passed = BytesMut::new();
        let taken = match piece {
            Some(Ok(bytes)) => self.take_in(&bytes, &mut passed, deltas),
            Some(Err(broken)) => Err(cut_error(broken)),
            None => self.finish(&mut passed, deltas),
        };
        if let Err(failure) = taken {
            if passed.is_empty() && deltas.is_empty() {
                return Err(failure);
            }
            // What came before it is whole, and goes first.
            self.failure = Some(failure);
        }
        match self.passage {
            Passage::Whole(_) => Ok(Step::Pass(passed.freeze())),
            Passage::Translated => Ok(Step::Write),
        }
    }

    fn take_in(
        &mut self,
        bytes: &[u8],
        passed: &mut BytesMut,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), ApiError> {
        let Some(mut frames) = self.frames.take() else { return Ok(()) };
        frames.push(bytes);
        while let Some(frame) = frames.next_frame()? {
            self.frame(&frame, passed, deltas)?;
            if self.has_ended {
                return Ok(());
            }
        }
        self.frames = Some(frames);
        Ok(())
    }

    fn frame(
        &mut self,
        frame: &Frame,
        passed: &mut BytesMut,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), ApiError> {
        let Some(event) = &frame.event else {
            // A comment: the upstream keeps the connection alive.
            passed.extend_from_slice(&frame.raw);
            deltas.push(Delta::Ping);
            return Ok(());
        };
        let known = deltas.len();
        let read = self.reader.read(event, deltas);
        self.has_ended = deltas.last() == Some(&Delta::End);
        self.has_spoken = self.has_spoken || deltas[known..].iter().any(is_decisive);
        match (self.passage, read) {
            (Passage::Translated, read) => return read.map_err(unreadable_error),
            (Passage::Whole(_), Err(Unreadable::Fault(fault))) if !self.has_spoken => {
                return Err(unreadable_error(Unreadable::Fault(fault)));
            }
            // What cannot be read teaches nothing, and passes all the same.
            (Passage::Whole(_), read) => self.has_faulted |= matches!(read, Err(Unreadable::Fault(_))),
        }
        if self.passage == Passage::Whole(UsageChunk::Unwanted) && self.reader.is_usage_alone() {
            return Ok(());
        }
        passed.extend_from_slice(&frame.raw);
        Ok(())
    }

    /// The provider closed the connection. Without its own end before, that is a cut.
    fn finish(&mut self, passed: &mut BytesMut, deltas: &mut Vec<Delta>) -> Result<(), ApiError> {
        self.body = None;
        if let Some(frame) = self.frames.take().and_then(Frames::finish) {
            self.frame(&frame, passed, deltas)?;
        }
        if !self.has_ended {
            self.reader.end(deltas);
            self.has_ended = deltas.last() == Some(&Delta::End);
        }
        // An error that passed through is the end that the provider chose.
        if self.has_ended {
            return Ok(());
        }
        let message = "the provider's stream ended before its end; what came is not complete";
        Err(ApiError::bad_gateway(StatusCode::BAD_GATEWAY, "egress.cut", message).meaning(Failure::Cut))
    }
}
