//! From a checked answer to a connection: one address after the other, each with its share of the time.
//!
//! Deliberately absent: names. What is connected to was judged before, and nothing is looked up again.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::dial::DialError;
use crate::guard::{Checked, Guard, Reason, Refusal};

/// Most addresses of one answer that are tried. Each gets an equal share of the time that is left.
const ADDRESSES_TRIED_MAX: usize = 6;

/// Connects to one of the addresses, in their order.
pub(crate) async fn open(
    guard: &Guard,
    checked: &Checked,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), DialError> {
    let addresses = checked.addresses();
    let tries = addresses.len().min(ADDRESSES_TRIED_MAX);
    let mut failure = None;
    for (index, &address) in addresses[..tries].iter().enumerate() {
        // One silent address must not use up the time of those behind it.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(tries - index).expect("at most ADDRESSES_TRIED_MAX");
        let attempt = timeout_at(Instant::now() + share, TcpStream::connect(address)).await;
        match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(tcp) => return accept(guard, tcp, address).map(|tcp| (tcp, address)),
            Err(source) => failure = Some(DialError::Connect { address, source }),
        }
    }
    Err(failure.expect("a checked answer is never empty"))
}

/// Takes an established connection, unless it leads back into this program.
fn accept(guard: &Guard, tcp: TcpStream, address: SocketAddr) -> Result<TcpStream, DialError> {
    let ready = tcp.set_nodelay(true).and_then(|()| tcp.local_addr());
    let local = ready.map_err(|source| DialError::Connect { address, source })?;
    if guard.is_own(local, address) {
        return Err(DialError::Address(Refusal::Address { address, reason: Reason::OwnListener }));
    }
    Ok(tcp)
}

/// Alternates the address families, so that a machine without IPv6 does not try six IPv6 addresses first.
pub(crate) fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dialled_socket_sends_small_pieces_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guard = Guard::within("127.0.0.0/8");
        let checked = guard.check(vec![address]).unwrap();
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let (tcp, _) = open(&guard, &checked, deadline).await.unwrap();
        // With Nagle's algorithm a request's last piece would wait for the acknowledgement of the one before.
        assert!(tcp.nodelay().unwrap());
    }

    #[test]
    fn address_families_take_turns() {
        let parse = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let answer = parse(&["::1", "::2", "::3", "10.0.0.1"]);
        assert_eq!(interleave(answer), parse(&["::1", "10.0.0.1", "::2", "::3"]));
        assert_eq!(interleave(parse(&["10.0.0.1", "10.0.0.2"])), parse(&["10.0.0.1", "10.0.0.2"]));
        assert_eq!(interleave(Vec::new()), Vec::<IpAddr>::new());
    }
}
