//! What the kernel takes away from a process: connections, other processes, and files that are not its business.
