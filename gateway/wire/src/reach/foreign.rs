//! What a value that nobody here knows most likely means: by the names in it, and by strings that look like URLs.
//!
//! A guess, and used as one: what is guessed about is unknown in any case, and refused where unknown things are. The
//! guess is for a policy that lets them pass and minds only what leads elsewhere.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::IndirectKind;
use super::walk::{Found, Place};

/// Names of destinations and credentials of the caller's, as clients' libraries, proxies and servers read them: in
/// lower case, letters and digits alone.
const DESTINATIONS: [&str; 44] = [
    "apibase",
    "apikey",
    "apiversion",
    "authorization",
    "awsaccesskeyid",
    "awsbedrockruntimeendpoint",
    "awsregionname",
    "awssecretaccesskey",
    "awssessiontoken",
    "azureadtoken",
    "azureendpoint",
    "basemodel",
    "baseurl",
    "bootstraphost",
    "bootstrapport",
    "callback",
    "callbackurl",
    "callbacks",
    "connectorid",
    "customllmprovider",
    "endpoint",
    "endpointurl",
    "extraheaders",
    "extraquery",
    "fallbacks",
    "headers",
    "kvtransferparams",
    "litellmparams",
    "lorapath",
    "modellist",
    "models",
    "organization",
    "provider",
    "proxy",
    "route",
    "routersettings",
    "serverurl",
    "tunnelid",
    "userconfig",
    "vertexcredentials",
    "vertexlocation",
    "vertexproject",
    "webhook",
    "webhookurl",
];

/// Names of tools that a backend runs, and of the switches that turn them on.
const HOSTED_TOOLS: [&str; 17] = [
    "codeexecution",
    "codeinterpreter",
    "computeruse",
    "enablesearch",
    "enterprisewebsearch",
    "filesearch",
    "googlemaps",
    "googlesearch",
    "googlesearchretrieval",
    "mcpservers",
    "plugins",
    "searchoptions",
    "searchparameters",
    "urlcontext",
    "websearch",
    "websearchoptions",
    "webfetch",
];

/// Names of what a backend keeps.
const STORED_STATE: [&str; 8] = [
    "assistantid",
    "background",
    "batchid",
    "conversation",
    "conversationid",
    "previousresponseid",
    "store",
    "threadid",
];

/// Names of what was given to a backend.
const FILES: [&str; 8] = [
    "container",
    "containerid",
    "fileid",
    "fileids",
    "fileuri",
    "uploadid",
    "vectorstoreid",
    "vectorstoreids",
];

/// Members of a schema that refer to another.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Returns what a member of this name most likely asks for.
pub(super) fn meaning(name: &str) -> impl Iterator<Item = IndirectKind> + use<> {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let kinds = [
        (IndirectKind::CallerDestination, &DESTINATIONS[..]),
        (IndirectKind::HostedTool, &HOSTED_TOOLS[..]),
        (IndirectKind::StoredState, &STORED_STATE[..]),
        (IndirectKind::FileId, &FILES[..]),
    ];
    kinds.into_iter().filter(move |(_, names)| names.contains(&plain.as_str())).map(|(kind, _)| kind)
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Everything that this file knows.
    Anything,
    /// References of a schema to documents elsewhere.
    References,
}

/// Reads all of `raw` once, and notes what it finds.
pub(super) fn search(raw: &RawValue, look: Look, at: &Place<'_>, found: &mut Found) {
    let search = Search { look, at, key: None, found };
    // The document has been checked, so there is nothing that could fail.
    let _ = search.deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
}

/// Returns whether `text` is a URL, as the more forgiving of its readers see it.
fn is_remote(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let rest = &text[scheme.len()..];
    let is_file = scheme.eq_ignore_ascii_case("file");
    text.starts_with("//") || text.starts_with("\\\\") || is_scheme && (is_file || rest.starts_with("://"))
}

/// Reads one value; the result is whether it says something.
struct Search<'s> {
    look: Look,
    at: &'s Place<'s>,
    /// The name under which it stands.
    key: Option<&'s str>,
    found: &'s mut Found,
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        let is_elsewhere = match self.look {
            Look::Anything => is_remote(text),
            Look::References => {
                self.key.is_some_and(|key| REFERENCES.contains(&key)) && !text.starts_with('#')
            }
        };
        if is_elsewhere {
            self.found.note(IndirectKind::RemoteUrl, self.at);
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let Self { look, at, found, .. } = self;
        for index in 0.. {
            let at = Place::Element(at, index);
            if list.next_element_seed(Search { look, at: &at, key: None, found: &mut *found })?.is_none() {
                return Ok(index > 0);
            }
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<bool, A::Error> {
        let Self { look, at, found, .. } = self;
        while let Some(key) = object.next_key::<Cow<'_, str>>()? {
            let at = Place::Member(at, &key);
            let search = Search { look, at: &at, key: Some(&key), found: &mut *found };
            let says_something = object.next_value_seed(search)?;
            if look == Look::Anything && says_something {
                meaning(&key).for_each(|kind| found.note(kind, &at));
            }
        }
        Ok(true)
    }
}
