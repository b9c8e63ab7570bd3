//! System calls that no crate offers in a safe form. All unsafe code of the crate.
//!
//! The attempts here are made so that they cannot touch this process's memory even where they succeed: pointers are
//! null, descriptors are -1, and what needs a real value points to one that lives here.

#![expect(unsafe_code, reason = "these calls have no safe form in the crates that we use")]

use std::ffi::{CStr, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// A call whose arguments are all numbers, none of them a pointer that the kernel would follow and write through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Harmless {
    number: c_long,
    arguments: [usize; 5],
}

/// -1, as an argument: no descriptor, no process, "leave as it is".
const NONE: usize = usize::MAX;

impl Harmless {
    const fn new(number: c_long, arguments: [usize; 5]) -> Self {
        Self { number, arguments }
    }

    /// A copy of this process, but flags that contradict each other, so no kernel makes one.
    pub(super) const FORK: Self =
        Self::new(libc::SYS_clone, [(libc::CLONE_SIGHAND | libc::SIGCHLD) as usize, 0, 0, 0, 0]);
    /// Arguments of no length.
    pub(super) const CLONE3: Self = Self::new(libc::SYS_clone3, [0; 5]);
    pub(super) const SETNS: Self = Self::new(libc::SYS_setns, [NONE, 0, 0, 0, 0]);
    pub(super) const MOUNT: Self = Self::new(libc::SYS_mount, [0; 5]);
    pub(super) const FSOPEN: Self = Self::new(libc::SYS_fsopen, [0; 5]);
    /// A command that does not exist.
    pub(super) const BPF: Self = Self::new(libc::SYS_bpf, [NONE, 0, 0, 0, 0]);
    pub(super) const PERF: Self = Self::new(libc::SYS_perf_event_open, [0, 0, 0, NONE, 0]);
    /// Flags that do not exist.
    pub(super) const USERFAULTFD: Self = Self::new(libc::SYS_userfaultfd, [NONE, 0, 0, 0, 0]);
    /// The serial of the session's keyring, which is not made if there is none.
    pub(super) const KEYRING: Self =
        Self::new(libc::SYS_keyctl, [0, libc::KEY_SPEC_SESSION_KEYRING as usize, 0, 0, 0]);
    pub(super) const MODULE: Self = Self::new(libc::SYS_finit_module, [NONE, 0, 0, 0, 0]);
    pub(super) const KEXEC: Self = Self::new(libc::SYS_kexec_load, [0, NONE, 0, NONE, 0]);
    pub(super) const HANDLE: Self = Self::new(libc::SYS_open_by_handle_at, [NONE, 0, 0, 0, 0]);
    /// The three ids as they are.
    pub(super) const SETUID: Self = Self::new(libc::SYS_setresuid, [NONE, NONE, NONE, 0, 0]);
    pub(super) const CHMOD: Self = Self::new(libc::SYS_fchmodat, [NONE, 0, 0, 0, 0]);
    pub(super) const CHOWN: Self = Self::new(libc::SYS_fchownat, [NONE, 0, NONE, NONE, 0]);
    /// An answer to "dumpable?" that does not exist.
    pub(super) const DUMPABLE: Self =
        Self::new(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as usize, NONE, 0, 0, 0]);
    pub(super) const TERMINAL: Self = Self::new(libc::SYS_ioctl, [NONE, libc::TIOCSTI as usize, 0, 0, 0]);
    pub(super) const SHARED_MEMORY: Self = Self::new(libc::SYS_shmget, [0, 0, 0, 0, 0]);
    /// `file_getattr`, which came with Linux 6.17: of nothing, into nothing.
    pub(super) const NEWER: Self = Self::new(468, [NONE, 0, 0, 0, 0]);

    /// Lets a thread of its own have new namespaces, so that the process keeps its own.
    pub(super) const fn unshare(flags: c_int) -> Self {
        Self::new(libc::SYS_unshare, [flags as usize, 0, 0, 0, 0])
    }

    /// Attaches to a process without stopping it; the end of the calling thread detaches.
    pub(super) const fn seize(process: i32) -> Self {
        Self::new(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, process as usize, 0, 0, 0])
    }

    /// Asks for no limit and sets none.
    pub(super) const fn limits(process: i32) -> Self {
        Self::new(libc::SYS_prlimit64, [process as usize, libc::RLIMIT_NOFILE as usize, 0, 0, 0])
    }

    pub(super) fn listen(descriptor: BorrowedFd<'_>) -> Self {
        Self::new(libc::SYS_listen, [descriptor.as_raw_fd() as usize, 1, 0, 0, 0])
    }

    /// Makes the call.
    pub(super) fn call(self) -> io::Result<usize> {
        let [first, second, third, fourth, fifth] = self.arguments;
        // SAFETY: a value of this type comes from a constructor above, and none of them hands out an address of
        // this process: the kernel finds null, a wrong number or nothing to do, and has no memory of ours to write.
        let answer = unsafe { libc::syscall(self.number, first, second, third, fourth, fifth) };
        answered(answer)
    }
}

/// Whether the kernel runs filters and knows the answer that ours give.
pub(super) fn seccomp_available() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads four bytes at the pointer, which are `action`, and the call changes nothing.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, ptr::from_ref(&action))
    };
    answer == 0
}

/// The version of Landlock's interface, if it is there and switched on.
pub(super) fn landlock_version() -> Option<u32> {
    const ASK_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes no attributes: the pointer is null and the size 0, as it demands.
    let answer =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0_usize, ASK_VERSION) };
    answered(answer).ok().and_then(|version| u32::try_from(version).ok()).filter(|version| *version > 0)
}

/// The kernel's form of "which process", version 3, and the two halves of three sets.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    process: i32,
}
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct CapabilityHalf {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops every capability of this thread but those, of which it keeps what it has.
pub(super) fn keep_capabilities(kept: u64) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = CapabilityHeader { version: VERSION_3, process: 0 };
    let mut sets = [CapabilityHalf::default(); 2];
    // SAFETY: both pointers are to values of the layout that version 3 has, alive and ours alone during the call.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    answered(got)?;
    for (half, kept) in sets.iter_mut().zip([kept as u32, (kept >> 32) as u32]) {
        half.effective &= kept;
        half.permitted &= kept;
        half.inheritable = 0;
    }
    // SAFETY: as above, and the kernel only reads.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    answered(set).map(|_| ())
}

/// Tries to make a ring of one entry.
pub(super) fn io_uring() -> io::Result<OwnedFd> {
    /// `struct io_uring_params` has 120 bytes; a kernel that wants to write more would have been given more.
    const PARAMETERS_WORDS: usize = 32;
    let mut parameters = [0_u64; PARAMETERS_WORDS];
    // SAFETY: the kernel reads and writes its 120 bytes at the pointer, and there are 256.
    let answer = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    descriptor(answer)
}

/// Tries to make an internet socket by the number that it has in the x32 interface.
pub(super) fn x32_socket() -> io::Result<OwnedFd> {
    const X32: c_long = 0x4000_0000;
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: three numbers and no pointer.
    let answer = unsafe { libc::syscall(X32 + libc::SYS_socket, libc::AF_INET, kind, 0) };
    descriptor(answer)
}

/// Tries to let the next `connect` of a socket send its data along.
pub(super) fn fast_open_connect(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the kernel reads the four bytes of `on`, whose size is given.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_CONNECT,
            ptr::from_ref(&on).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    answered(answer.into()).map(|_| ())
}

/// Tries to become another program, with an argument list that the kernel cannot read: it fails even where it may.
pub(super) fn execute(program: &CStr) -> io::Result<()> {
    let unreadable: usize = 1;
    let none: usize = 0;
    // SAFETY: the path ends in a zero byte and lives through the call. The list is at an address that is never
    // mapped, so the kernel answers `EFAULT` before it replaces the process.
    let answer = unsafe { libc::syscall(libc::SYS_execve, program.as_ptr(), unreadable, none) };
    answered(answer).map(|_| ())
}

/// Tries to read a byte of another process, at an address where it has none.
pub(super) fn read_memory(process: i32) -> io::Result<()> {
    let mut byte = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(1), iov_len: 1 };
    // SAFETY: the kernel writes at most one byte to `local`, which is `byte`; it never follows `remote` in here.
    let answer = unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
    answered(answer as c_long).map(|_| ())
}

fn answered(answer: c_long) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

fn descriptor(answer: c_long) -> io::Result<OwnedFd> {
    let number = answered(answer)? as c_int;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Marks every descriptor from 3 on to be closed when another program is executed.
pub(super) fn close_on_exec() -> io::Result<()> {
    const FIRST: u32 = 3;
    // SAFETY: the call takes numbers alone. Marked descriptors stay open here, so nothing that owns one is wronged.
    let result = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the calling thread, which is the only one, an empty network.
pub(super) fn own_network() -> io::Result<()> {
    // SAFETY: the call takes a number alone, and changes no memory.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
