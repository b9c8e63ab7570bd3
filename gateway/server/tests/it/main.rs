//! The gateway as its users meet it: the built binary, real sockets, real files.
//!
//! Every test starts a process of its own with a policy and a data folder of its own, plays the client, and
//! where a provider is needed plays that too, one step after the other. Nothing leaves the machine. What the
//! demo model says does not matter here, only that it says the same thing each time.
//!
//! | module | about |
//! |---|---|
//! | `gateway`, `client`, `upstream`, `routes`, `patience` | the stage: process, client, provider, policies, waiting |
//! | `agents` | what clients of Messages and of Responses send and read |
//! | `messages`, `responses`, `continued` | those clients, and every kind of answer |
//! | `kinds`, `counting`, `bodies`, `leaving`, `held` | providers' paths and headers, tokens, packed bodies, clients that go, forms |
//! | `batching`, `completions`, `measuring`, `embeddings`, `refusals` | the models in the process |
//! | `fleet` | models that come and go while it serves |
//! | `forwarding`, `failures`, `fallback` | providers, good and bad |
//! | `routed` | choosing upstreams: second tries, breakers, splits, probes, copies |
//! | `callers`, `sealed` | who may go where |
//! | `trail`, `crash`, `shutdown` | what is left when something ends |
//! | `hub`, `pulls`, `checks` | a hub that plays along; models that are pulled, and checked |
//! | `reload`, `revocations` | a policy that changes while it runs, and what is denied at once |
//! | `cases`, `plans` | a policy before it runs: its tests, explanations, what a change opens |
//! | `folders` | a policy in several files |
//! | `tools` | the proxy for agents' tools |
//! | `net` | all of it in a network of the test's own: names, addresses, proxies, chaos |
//! | `readings` | requests and hosts that could be read in two ways |
//! | `floods` | clients that write more frames of HTTP/2 than anybody needs |
//! | `commands` | the other subcommands |

#![expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test")]

mod agents;
mod authoring;
mod batching;
mod bodies;
mod callers;
mod cases;
mod checks;
mod client;
mod commands;
mod completions;
mod continued;
mod counting;
mod crash;
mod embeddings;
mod failures;
mod fallback;
mod fleet;
mod floods;
mod folders;
mod forwarding;
mod gateway;
mod held;
mod hub;
mod indirect;
mod inspection;
mod kinds;
mod leaving;
mod measuring;
mod messages;
mod net;
mod patience;
mod plans;
mod processes;
mod pulls;
mod readings;
mod refusals;
mod reload;
mod responses;
mod revocations;
mod routed;
mod routes;
mod sealed;
mod sharing;
mod shutdown;
mod tools;
mod trail;
mod upstream;
