//! A name server whose every answer the test writes, over UDP and TCP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Where it is.
pub(crate) const ADDRESS: &str = "127.0.0.53";
const PORT: u16 = 53;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

const HEADER_BYTES: usize = 12;
/// The name that the question begins with, by reference.
const THE_NAME: [u8; 2] = [0xc0, 12];

/// What becomes of a question.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These addresses, as far as they are of the family that is asked for.
    Addresses(Vec<IpAddr>),
    /// Another name, and its addresses.
    Alias(&'static str, Vec<IpAddr>),
    /// These addresses, but only over TCP: for a datagram they are too many.
    Long(Vec<IpAddr>),
    /// The server's own trouble.
    Failure,
    /// Nothing at all.
    Silence,
}

impl Answer {
    pub(crate) fn of(addresses: &[&str]) -> Self {
        Self::Addresses(parsed(addresses))
    }
}

pub(crate) fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

/// A running name server. Names that it does not know do not exist.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// For each name what the first, the second and every later question of one type is answered with.
    answers: HashMap<String, Vec<Answer>>,
    questions: Vec<(String, u16)>,
}

impl Names {
    pub(crate) async fn start() -> Self {
        let names = Self::default();
        let udp = UdpSocket::bind((ADDRESS, PORT)).await.unwrap();
        let tcp = TcpListener::bind((ADDRESS, PORT)).await.unwrap();
        let (by_udp, by_tcp) = (names.clone(), names.clone());
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, peer)) = udp.recv_from(&mut packet).await {
                if let Some(answer) = by_udp.answer(&packet[..length], false) {
                    udp.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let names = by_tcp.clone();
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut packet = vec![0; usize::from(length)];
                        stream.read_exact(&mut packet).await.unwrap();
                        let Some(answer) = names.answer(&packet, true) else { continue };
                        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                        // Whoever asked may have gone.
                        let _ = stream.write_all(&[&length[..], &answer].concat()).await;
                    }
                });
            }
        });
        names
    }

    /// From now on, `name` has this answer.
    pub(crate) fn set(&self, name: &str, answer: Answer) {
        self.turns(name, vec![answer]);
    }

    /// From now on, `name` has one answer after the other, and keeps the last one. Nobody may remember them.
    pub(crate) fn turns(&self, name: &str, answers: Vec<Answer>) {
        let mut state = self.0.lock().unwrap();
        state.questions.retain(|(asked, _)| asked != name);
        state.answers.insert(name.to_owned(), answers);
    }

    /// How often a name was asked for, once for each type.
    pub(crate) fn asked(&self, name: &str) -> (usize, usize) {
        let state = self.0.lock().unwrap();
        let count =
            |kind| state.questions.iter().filter(|question| **question == (name.to_owned(), kind)).count();
        (count(A), count(AAAA))
    }

    /// All names that were asked for, once each.
    pub(crate) fn all_asked(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.0.lock().unwrap().questions.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn answer(&self, packet: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
        let (name, kind, end) = question(packet);
        let mut state = self.0.lock().unwrap();
        let before = state.questions.iter().filter(|asked| **asked == (name.clone(), kind)).count();
        state.questions.push((name.clone(), kind));
        let Some(answers) = state.answers.get(&name) else {
            return Some(reply(&packet[..end], 3, false, &[]));
        };
        let ttl_s = if answers.len() > 1 { 0 } else { 60 };
        let question = &packet[..end];
        Some(match &answers[before.min(answers.len() - 1)] {
            Answer::Silence => return None,
            Answer::Failure => reply(question, 2, false, &[]),
            Answer::Long(_) if !is_tcp => reply(question, 0, true, &[]),
            Answer::Addresses(addresses) | Answer::Long(addresses) => {
                reply(question, 0, false, &records(&THE_NAME, kind, ttl_s, addresses))
            }
            Answer::Alias(target, addresses) => {
                let target = labels(target);
                let mut all = vec![record(&THE_NAME, CNAME, ttl_s, &target)];
                all.extend(records(&target, kind, ttl_s, addresses));
                reply(question, 0, false, &all)
            }
        })
    }
}

/// The name and the type that a packet asks for, and where the question ends.
fn question(packet: &[u8]) -> (String, u16, usize) {
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    while packet[at] != 0 {
        let end = at + 1 + usize::from(packet[at]);
        labels.push(String::from_utf8(packet[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([packet[at + 1], packet[at + 2]]), at + 5)
}

fn reply(question: &[u8], code: u8, is_truncated: bool, records: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = question.to_vec();
    // Flags, then the counts of questions, answers, authorities and additions.
    let [high, low] = u16::try_from(records.len()).unwrap().to_be_bytes();
    let flags = [0x81 | if is_truncated { 2 } else { 0 }, 0x80 | code];
    packet[2..HEADER_BYTES].copy_from_slice(&[flags[0], flags[1], 0, 1, high, low, 0, 0, 0, 0]);
    packet.extend(records.concat());
    packet
}

fn records(owner: &[u8], kind: u16, ttl_s: u8, addresses: &[IpAddr]) -> Vec<Vec<u8>> {
    let of_kind = addresses.iter().filter_map(|address| match (kind, address) {
        (A, IpAddr::V4(address)) => Some(address.octets().to_vec()),
        (AAAA, IpAddr::V6(address)) => Some(address.octets().to_vec()),
        _ => None,
    });
    of_kind.map(|octets| record(owner, kind, ttl_s, &octets)).collect()
}

/// The owner, the type, the class, the time to live and what it says.
fn record(owner: &[u8], kind: u16, ttl_s: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, ttl_s], &length, value].concat()
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name
        .split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
        .collect();
    bytes.push(0);
    bytes
}
