//! `TCP_INFO`: what the Linux kernel counts.
//!
//! The kernel counts sequence numbers, of which the beginning and the end of a connection take one each, and counts
//! again what it sends again. All of that is taken off here.
//!
//! | asked for | from | less |
//! |---|---|---|
//! | sent | `bytes_sent` - `bytes_retrans`, or `bytes_acked` if that is more | begin and end, in `bytes_acked` |
//! | waiting | `notsent_bytes` | our end, while it waits too |
//! | received | `bytes_received` | their end, once it is there |

#![expect(unsafe_code, reason = "this option of a socket has no safe form")]

use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use libc::tcp_info;

use super::TcpBytes;

/// States of a connection, by the kernel's numbers.
mod state {
    pub(super) const FIN_WAIT1: u8 = 4;
    pub(super) const TIME_WAIT: u8 = 6;
    pub(super) const CLOSE: u8 = 7;
    pub(super) const CLOSE_WAIT: u8 = 8;
    pub(super) const LAST_ACK: u8 = 9;
    pub(super) const CLOSING: u8 = 11;
}

pub(super) fn bytes(socket: BorrowedFd<'_>) -> Option<TcpBytes> {
    let mut info = [0_u8; size_of::<tcp_info>()];
    let mut length = libc::socklen_t::try_from(info.len()).expect("a structure of the kernel is small");
    // SAFETY: both pointers are to locals that outlive the call, and `length` is the size of the one that the kernel
    // fills; it writes no more than that.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status != 0 {
        return None;
    }
    count(info.get(..length as usize)?)
}

/// Reads what the kernel told, which is less of the structure the older it is; too old a kernel tells nothing.
fn count(told: &[u8]) -> Option<TcpBytes> {
    let long = |at: usize| told.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
    let state = *told.get(offset_of!(tcp_info, tcpi_state))?;
    let waiting = told.get(offset_of!(tcp_info, tcpi_notsent_bytes)..)?.first_chunk();
    let waiting = u64::from(u32::from_ne_bytes(*waiting?));
    let transmitted = long(offset_of!(tcp_info, tcpi_bytes_sent))?;
    let again = long(offset_of!(tcp_info, tcpi_bytes_retrans))?;
    let acknowledged = long(offset_of!(tcp_info, tcpi_bytes_acked))?;
    let arrived = long(offset_of!(tcp_info, tcpi_bytes_received))?;

    let waiting = match state {
        // What was thrown away at a reset is still counted as waiting.
        state::CLOSE => 0,
        state::FIN_WAIT1 | state::LAST_ACK | state::CLOSING => waiting.saturating_sub(1),
        _ => waiting,
    };
    let their_end = match state {
        state::CLOSE_WAIT | state::LAST_ACK | state::CLOSING | state::TIME_WAIT | state::CLOSE => 1,
        _ => 0,
    };
    let sent = transmitted.saturating_sub(again).max(acknowledged.saturating_sub(2));
    Some(TcpBytes { sent: sent + waiting, received: arrived.saturating_sub(their_end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_not_count_tells_nothing() {
        let whole = [0; size_of::<tcp_info>()];
        let needed = offset_of!(tcp_info, tcpi_bytes_retrans) + size_of::<u64>();
        assert!(count(&whole[..needed]).is_some());
        for length in 0..needed {
            assert_eq!(count(&whole[..length]), None, "{length} bytes");
        }
    }
}
