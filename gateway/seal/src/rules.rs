//! What a confined process keeps. All else is taken, so there is no list of what to take.

use std::path::PathBuf;

/// What stays with the process that is confined.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How much of the second layer there has to be.
    pub landlock: Landlock,
    /// What the process computes on.
    pub device: Device,
    /// Files and folders that can still be opened; a folder stands for all below it.
    pub paths: Vec<Grant>,
}

/// How much of Landlock the kernel must have. Seccomp, the first layer, is always required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landlock {
    /// Refuses kernels below this version of the interface; newer ones give all that they have.
    Required {
        /// 1: files; 3: truncation; 4: TCP ports; 5: devices; 6: signals and abstract sockets.
        abi_min: u32,
    },
    /// Takes what there is, which may be nothing: then every file of the user stays within reach.
    BestEffort,
}

/// What a process computes on, which decides about the devices that it may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Processor and memory: no device beyond [`Rules::BASE`].
    Cpu,
    /// NVIDIA's driver: adds [`Rules::CUDA_READ`], and everything in `/dev` whose name starts with `nvidia` for
    /// reading, writing and commands (`ioctl`). The denied calls are the same.
    Cuda,
}

/// One path, and what may be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A file or a folder, as it is called at the time of confinement. Renaming it does not take it away.
    pub path: PathBuf,
    /// What may be done with it.
    pub access: Access,
    /// What it means if it is not there.
    pub presence: Presence,
}

/// What may be done with a granted path. Nothing can be executed, anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Opening for reading, listing.
    Read,
    /// Also writing, creating and removing files, folders and links; no sockets, pipes or devices.
    ReadWrite,
}

/// What a missing path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// An error.
    Required,
    /// Nothing: the path is reported as absent, and stays out of reach if it appears later.
    Optional,
}

impl Rules {
    /// What the standard library, the runtime and the engine read on any machine, if it is there: chance, the size of
    /// the memory and of the control group, the processors, the time zone.
    pub const BASE: [&str; 8] = [
        "/dev/random",
        "/dev/urandom",
        "/etc/localtime",
        "/proc/meminfo",
        "/proc/self/cgroup",
        "/sys/devices/system/cpu",
        "/sys/fs/cgroup",
        "/usr/share/zoneinfo",
    ];

    /// What NVIDIA's libraries read beyond that: themselves, as they are loaded when they are first called, and what
    /// the kernel says about the cards.
    pub const CUDA_READ: [&str; 13] = [
        "/etc/ld.so.cache",
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/cuda/lib64",
        "/usr/local/nvidia",
        "/proc/cpuinfo",
        "/proc/devices",
        "/proc/driver/nvidia",
        "/proc/modules",
        "/sys/bus/pci/devices",
        "/sys/devices",
    ];

    /// Starts with [`Rules::BASE`] and `/dev/null`, and with files and TCP ports under Landlock as the least.
    pub fn new(device: Device) -> Self {
        let rules = Self { landlock: Landlock::Required { abi_min: 4 }, device, paths: Vec::new() };
        let rules = rules.and("/dev/null", Access::ReadWrite, Presence::Optional);
        let read: &[&str] = match device {
            Device::Cpu => &[],
            Device::Cuda => &Self::CUDA_READ,
        };
        let read = Self::BASE.iter().chain(read);
        read.fold(rules, |rules, path| rules.and(*path, Access::Read, Presence::Optional))
    }

    /// Grants one more path.
    #[must_use]
    pub fn and(mut self, path: impl Into<PathBuf>, access: Access, presence: Presence) -> Self {
        self.paths.push(Grant { path: path.into(), access, presence });
        self
    }

    /// Grants reading of a path that has to be there.
    #[must_use]
    pub fn reading(self, path: impl Into<PathBuf>) -> Self {
        self.and(path, Access::Read, Presence::Required)
    }

    /// Grants reading and writing of a path that has to be there.
    #[must_use]
    pub fn writing(self, path: impl Into<PathBuf>) -> Self {
        self.and(path, Access::ReadWrite, Presence::Required)
    }
}
