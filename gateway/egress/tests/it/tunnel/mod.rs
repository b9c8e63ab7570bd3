//! The proxy for agents against real sockets, and against streams under the test's clock.

mod carrying;
mod chance;
mod hello;
mod in_force;
mod plain;
mod refusing;
mod stage;
mod waiting;
