//! What gateway and broker say to each other: JSON, one value for each message.

use policy::{ProviderName, WorkflowName};
use serde::{Deserialize, Serialize};
use url::Host;

use crate::dial::DialFailure;
use crate::way::{Ask, DialId, Purpose};

/// From the gateway to the broker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// A gateway begins; whatever the one before had open is over.
    Hello,
    /// Open a connection, within a time.
    Open {
        id: u64,
        workflow: String,
        provider: String,
        host: String,
        port: u16,
        purpose: Purpose,
        within_ms: u64,
    },
    /// A connection is over.
    Over { dial: DialId },
    /// These were asked before the broker said hello: say of each that never arrived that it is lost.
    Asked {
        ids: Vec<u64>,
        /// Whether no more of them follow.
        is_last: bool,
    },
    /// Decide by the policy with this digest from here on.
    Adopt { id: u64, digest: String },
}

/// From the broker to the gateway.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Reply {
    /// A broker begins; what the one before took from the line is lost.
    Hello {
        /// Of the policy by which it decides.
        digest: String,
    },
    /// The connection comes with this message.
    Opened { id: u64, dial: DialId },
    /// There is no connection.
    Failed { id: u64, kind: DialFailure, message: String },
    /// It decides by that policy now.
    Adopted { id: u64 },
    /// It goes on deciding by the policy before.
    NotAdopted { id: u64, message: String },
}

impl Request {
    /// Writes a question down.
    pub(super) fn open(id: u64, ask: &Ask, within_ms: u64) -> Self {
        Self::Open {
            id,
            workflow: ask.workflow.to_string(),
            provider: ask.provider.to_string(),
            host: ask.host.to_string(),
            port: ask.port,
            purpose: ask.purpose,
            within_ms,
        }
    }
}

/// Reads a question; nothing if one of its names cannot be one.
pub(super) fn ask(names: [&str; 3], port: u16, purpose: Purpose) -> Option<Ask> {
    let [workflow, provider, host] = names;
    Some(Ask {
        workflow: WorkflowName::new(workflow).ok()?,
        provider: ProviderName::new(provider).ok()?,
        host: Host::parse(host).ok()?,
        port,
        purpose,
    })
}

/// Writes a message.
pub(super) fn write(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("names, numbers and text can always be written")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_question_arrives_as_it_was_asked() {
        for host in ["api.example.com", "10.20.0.7", "[2001:db8::7]"] {
            let asked = ask(["docs", "up", host], 8443, Purpose::Probe).unwrap();
            let text = write(&Request::open(7, &asked, 5000));
            let Ok(Request::Open { id: 7, workflow, provider, host, port, purpose, within_ms: 5000 }) =
                serde_json::from_slice(&text)
            else {
                panic!("{}", String::from_utf8_lossy(&text))
            };
            assert_eq!(ask([&workflow, &provider, &host], port, purpose), Some(asked));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            drop(serde_json::from_slice::<Request>(&bytes));
            drop(serde_json::from_slice::<Reply>(&bytes));
        }
    }
}
