//! Where there is no implementation of the eight lanes but the plain one.

use pulp::Arch;

use super::{Kernel, Plain, With};

/// Runs `kernel` on the widest instructions of this machine.
pub(crate) fn dispatch(kernel: impl Kernel) {
    Arch::new().dispatch(With(kernel, Plain));
}
