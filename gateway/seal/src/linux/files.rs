//! Landlock: which paths can be opened, and a second lock on TCP ports, signals and abstract sockets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
    make_bitflags,
};

use crate::{Access, Device, Grant, Landlock, Presence, Rules, SealError};

/// The newest interface whose rights were read. An older kernel takes those that it knows.
const NEWEST: ABI = ABI::V10;
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// No sockets, pipes or devices, and nothing to execute.
const READ_WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSym | RemoveFile | RemoveDir | Refer
});
const DEVICE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | IoctlDev});

/// A set of rules that is ready and binds nobody yet.
pub(super) struct Prepared {
    ruleset: RulesetCreated,
    absent: Vec<PathBuf>,
}

/// Opens the paths and hands them to the kernel. `None` where the kernel has no Landlock and the rules allow that.
pub(super) fn prepare(rules: &Rules, version: Option<u32>) -> Result<Option<Prepared>, SealError> {
    let found = version.unwrap_or(0);
    match rules.landlock {
        Landlock::Required { abi_min } if found < abi_min.max(1) => {
            return Err(SealError::Landlock { wanted: abi_min.max(1), found });
        }
        Landlock::BestEffort if found == 0 => return Ok(None),
        Landlock::Required { .. } | Landlock::BestEffort => {}
    }
    let mut ruleset = ruleset().map_err(SealError::refused("make a Landlock rule set"))?;
    let mut absent = Vec::new();
    for grant in &rules.paths {
        let rights = match grant.access {
            Access::Read => READ,
            Access::ReadWrite => READ_WRITE,
        };
        match granted(&grant.path, rights) {
            Ok(rule) => ruleset = add(ruleset, rule)?,
            Err(source) => absent.push(missing(grant, source)?),
        }
    }
    for device in devices(rules.device) {
        let rule = granted(&device, DEVICE).map_err(|source| SealError::Path { path: device, source })?;
        ruleset = add(ruleset, rule)?;
    }
    Ok(Some(Prepared { ruleset, absent }))
}

impl Prepared {
    /// Binds this thread and those that it will start. Returns the optional paths that were not there.
    pub(super) fn enforce(self) -> Result<Vec<PathBuf>, SealError> {
        let step = "enforce the Landlock rules";
        let status = self.ruleset.restrict_self().map_err(SealError::refused(step))?;
        match status.ruleset {
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(self.absent),
            RulesetStatus::NotEnforced => Err(SealError::refused(step)("the kernel enforces none of them")),
        }
    }
}

/// Every right that Landlock knows is taken; what stays is what rules give back. No rule gives back a port.
fn ruleset() -> Result<RulesetCreated, landlock::RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()
}

fn granted(path: &Path, rights: BitFlags<AccessFs>) -> io::Result<PathBeneath<PathFd>> {
    let opened = PathFd::new(path).map_err(|error| match error {
        PathFdError::OpenCall { source, .. } => source,
        other => io::Error::other(other),
    })?;
    let rights = if fs::metadata(path)?.is_dir() { rights } else { rights & AccessFs::from_file(NEWEST) };
    Ok(PathBeneath::new(opened, rights))
}

fn add(ruleset: RulesetCreated, rule: PathBeneath<PathFd>) -> Result<RulesetCreated, SealError> {
    ruleset.add_rule(rule).map_err(SealError::refused("add a Landlock rule"))
}

fn missing(grant: &Grant, source: io::Error) -> Result<PathBuf, SealError> {
    match (grant.presence, source.kind()) {
        (Presence::Optional, io::ErrorKind::NotFound) => Ok(grant.path.clone()),
        _ => Err(SealError::Path { path: grant.path.clone(), source }),
    }
}

fn devices(device: Device) -> Vec<PathBuf> {
    match device {
        Device::Cpu => Vec::new(),
        Device::Cuda => {
            let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
            let nvidia = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"nvidia"));
            nvidia.map(|entry| entry.path()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::thread;

    use super::*;
    use crate::linux::sys;

    /// Landlock binds one thread, so a thread of the test can be bound, without the filter in front.
    #[test]
    fn landlock_alone_refuses_ports_and_paths() {
        let Ok(Some(prepared)) = prepare(&Rules::new(Device::Cpu), sys::landlock_version()) else {
            return;
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect(address).unwrap();
        let refused = thread::spawn(move || {
            prepared.enforce().unwrap();
            [
                TcpStream::connect(address).err().map(|error| error.kind()),
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).err().map(|error| error.kind()),
                File::open("/etc/passwd").err().map(|error| error.kind()),
                fs::read_dir("/proc").err().map(|error| error.kind()),
                // Granted, and nothing beyond what was granted.
                File::open("/dev/urandom").err().map(|error| error.kind()),
                File::options().write(true).open("/dev/urandom").err().map(|error| error.kind()),
            ]
        });
        let no = Some(ErrorKind::PermissionDenied);
        assert_eq!(refused.join().unwrap(), [no, no, no, no, None, no]);
    }
}
