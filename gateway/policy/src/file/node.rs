//! A YAML document as a tree in which every part knows where it stands.
//!
//! The tree exists so that reading can report every mistake with its place. A deserialiser stops at the first.
//! YAML is read in its plainest form: one document, text keys, no tags, no merge keys, no repeated keys.
//! Anchors and aliases work as copies, within [`NODES_MAX`].

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, StrInput, Tag, options};

use crate::diagnostic::{Findings, Position, Spanned};

/// Longest policy file.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of lists and mappings; the format itself needs 7.
const DEPTH_MAX: usize = 32;
/// Most nodes in a document, with every alias counted as the copy that it is. A few lines of nested aliases
/// can otherwise stand for more nodes than memory holds.
const NODES_MAX: usize = 100_000;

/// One value of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) kind: NodeKind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// Text without quotes, which other readers of YAML may take for a number, a boolean or nothing.
    Plain(String),
    /// Text in quotes or in a block, which is always text.
    Quoted(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Spanned<String>,
    pub(crate) value: Node,
}

impl Node {
    /// Returns whether a key stands there without a value.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(&self.kind, NodeKind::Plain(text) if text.is_empty() || text == "~")
    }

    /// Says what the node is, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            _ if self.is_nothing() => "nothing",
            NodeKind::Plain(_) | NodeKind::Quoted(_) => "a single value",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
        }
    }

    fn count(&self) -> usize {
        match &self.kind {
            NodeKind::Plain(_) | NodeKind::Quoted(_) => 1,
            NodeKind::List(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            NodeKind::Map(entries) => 1 + entries.iter().map(|e| e.value.count()).sum::<usize>(),
        }
    }
}

/// Reads a document. Returns `None` if it cannot be scanned to its end; the findings then say why.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Option<Node> {
    parse_of(0, text, findings)
}

/// Does what [`parse`] does, for one of several files.
pub(crate) fn parse_of(file: u16, text: &str, findings: &mut Findings) -> Option<Node> {
    let start = Position::start_of(file);
    if text.len() > DOCUMENT_BYTES_MAX {
        let message = format!("the file has {} bytes, more than {DOCUMENT_BYTES_MAX}", text.len());
        findings.error_with_hint(start, message, "a policy of that size is data: put it elsewhere");
        return None;
    }
    let mut reader = Reader {
        file,
        events: Parser::new_from_str_with_options(text, scanner_options()),
        findings,
        anchors: HashMap::new(),
        nodes_left: NODES_MAX,
    };
    match reader.document() {
        Ok(root) => Some(root),
        Err(Stop { at, message, hint }) => {
            findings.error_with_hint(at, message, hint);
            None
        }
    }
}

fn scanner_options() -> Options {
    options! {
        strict_indentation: true,
        disallow_directives: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        emit_comments: false,
    }
}

/// Why the rest of the document cannot be read.
struct Stop {
    at: Position,
    message: String,
    hint: &'static str,
}

struct Reader<'t, 'f> {
    file: u16,
    events: Parser<'t, StrInput<'t>>,
    findings: &'f mut Findings,
    /// Finished nodes by anchor. A collection enters when it ends, so an alias inside itself finds nothing.
    anchors: HashMap<usize, Node>,
    nodes_left: usize,
}

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<(Event<'t>, Position), Stop> {
        let end_is_an_event = "the parser ends with an event, which stops the reading";
        match self.events.next_event().expect(end_is_an_event) {
            Ok((event, span)) => Ok((event, self.position(&span.start))),
            Err(error) => Err(Stop {
                at: self.position(error.marker()),
                message: error.info(),
                hint: scan_hint(error.info().as_str()),
            }),
        }
    }

    fn position(&self, marker: &Marker) -> Position {
        Position { file: self.file, line: marker.line(), column: marker.col() + 1 }
    }

    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_none() => {}
                Event::DocumentStart(..) => {
                    let hint = "remove the second one, and the line `---` before it";
                    return Err(Stop { at, message: "a policy file holds one document".into(), hint });
                }
                first => root = Some(self.node(first, at, 0)?),
            }
        }
        let at = Position::start_of(self.file);
        let hint = "begin it with `version: 1`";
        root.ok_or_else(|| Stop { at, message: "the file is empty".into(), hint })
    }

    fn node(&mut self, event: Event<'t>, at: Position, depth: usize) -> Result<Node, Stop> {
        if depth > DEPTH_MAX {
            let hint = "the format itself needs less than ten levels";
            return Err(Stop { at, message: format!("nested deeper than {DEPTH_MAX}"), hint });
        }
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                let text = text.into_owned();
                let is_plain = style == ScalarStyle::Plain;
                (if is_plain { NodeKind::Plain(text) } else { NodeKind::Quoted(text) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                (NodeKind::List(self.items(depth)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                (NodeKind::Map(self.entries(depth)?), anchor)
            }
            Event::Alias(anchor) => (self.copy_of(anchor, at)?, 0),
            other => unreachable!("{other:?} cannot stand where a value is expected"),
        };
        let node = Node { at, kind };
        self.spend(1, at)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (event, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                other => other,
            };
            let key = self.node(event, at, depth + 1)?;
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at, depth + 1)?;
            let Some(key) = self.key(key) else { continue };
            if seen.insert(key.value.clone()) {
                entries.push(Entry { key, value });
            } else {
                let message = format!("the key `{}` stands here twice", key.value);
                self.findings.error_with_hint(at, message, "remove one of the two");
            }
        }
    }

    fn key(&mut self, node: Node) -> Option<Spanned<String>> {
        match node.kind {
            NodeKind::Plain(text) if text == "<<" => {
                let hint = "write the keys out, so that every reader sees the same policy";
                self.findings.error_with_hint(node.at, "merge keys are not allowed", hint);
                None
            }
            NodeKind::Plain(value) | NodeKind::Quoted(value) => Some(Spanned { value, at: node.at }),
            NodeKind::List(_) | NodeKind::Map(_) => {
                let hint = "write the key as one word, and lists and mappings behind the `:`";
                self.findings.error_with_hint(node.at, "a key must be text", hint);
                None
            }
        }
    }

    fn copy_of(&mut self, anchor: usize, at: Position) -> Result<NodeKind, Stop> {
        let Some(node) = self.anchors.get(&anchor) else {
            let hint = "write the value out";
            return Err(Stop {
                at,
                message: "this alias stands inside the value that it names".into(),
                hint,
            });
        };
        let (kind, count) = (node.kind.clone(), node.count());
        self.spend(count, at)?;
        Ok(kind)
    }

    fn spend(&mut self, count: usize, at: Position) -> Result<(), Stop> {
        if let Some(left) = self.nodes_left.checked_sub(count) {
            self.nodes_left = left;
            return Ok(());
        }
        let hint = "use fewer aliases: each counts as a copy of what it names";
        Err(Stop { at, message: format!("more than {NODES_MAX} values, aliases included"), hint })
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag {
            let message = format!("the tag `{}` is not allowed", tag.original());
            self.findings.error_with_hint(at, message, "remove it; every key has one type of value");
        }
    }
}

/// Says what to do about a text that is no YAML. The scanner's own words say what it found.
fn scan_hint(found: &str) -> &'static str {
    let known = [
        (
            "anchor",
            "write a text that begins with `*` in quotes; an alias stands behind its anchor, in the same file",
        ),
        ("tab", "indent with spaces"),
        ("directive", "remove the line that begins with `%`"),
        ("unexpected character", "write the text in quotes"),
        ("escape", "write `\\\\` for a backslash, or use single quotes"),
        ("recursion", "the format itself needs less than ten levels"),
        ("trailing content", "write one value behind the `:`, and quotes around the whole of it"),
    ];
    let hint = known.iter().find(|(word, _)| found.contains(word)).map(|(_, hint)| *hint);
    hint.unwrap_or("look at the indentation, the brackets and the quotes here and in the line above")
}
