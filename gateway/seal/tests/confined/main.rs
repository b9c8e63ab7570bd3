//! Confinement seen from inside. Each test starts this program again in a role of its own: what is given up cannot be
//! taken back, and only a process with one thread can give it up, so no test may share a process with another.
//!
//! Every test of a refusal has a control, a process that is free and does the same.

#![cfg_attr(
    target_os = "linux",
    expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test"),
    expect(clippy::disallowed_methods, reason = "a child of a test is told its part by its environment")
)]

#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod escapes;
#[cfg(target_os = "linux")]
mod packets;
#[cfg(target_os = "linux")]
mod roles;
#[cfg(target_os = "linux")]
mod siblings;
#[cfg(target_os = "linux")]
mod works;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    roles::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    let rules = seal::Rules::new(seal::Device::Cpu);
    assert!(matches!(seal::confine(&rules), Err(seal::SealError::Unsupported)));
}
