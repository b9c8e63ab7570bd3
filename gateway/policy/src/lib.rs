//! The routing policy: `routes.yaml` in, one decision per request out.
//!
//! The crate is pure. It reads no clock, file, socket or environment variable: the caller hands over the
//! text of the file, the facts of a request and, for new keys, the entropy. What it returns is immutable, so a
//! request can keep the policy it started with while a newer one is already in force.
//!
//! The way through it:
//!
//! ```text
//! Source --compile--> Policy          `file` reads what is written, `compile` works out what is meant
//! Presented --identify--> Caller      who is calling
//! Caller + selector --select--> Workflow
//! Workflow + Facts --decide--> Admitted (ordered hops) or Denial (code)
//! names of workflow, provider, host --may_dial--> Destination    the same grant, decided again at the socket
//! names of workflow, host, port --may_tunnel--> TunnelRule       what agents reach besides models
//! ```
//!
//! Only this crate can make an [`Admitted`] or a [`Hop`], so no other code can send a request that no policy
//! allowed.
//!
//! Deliberately absent: rates and budgets, tokens and certificates as identities. The keys that name them in the file
//! are known, and refused until there is code behind them.

mod admitted;
mod api;
mod auth;
pub mod bundle;
mod canonical;
pub mod cases;
mod compile;
mod content;
mod decide;
mod diagnostic;
mod digest;
mod explain;
mod file;
mod glob;
mod grant;
mod host;
mod identity;
pub mod import;
mod indirect;
mod jcs;
pub mod key;
mod lint;
mod locality;
mod model;
mod moment;
mod name;
mod order;
pub mod plan;
mod policy;
mod priority;
mod provider;
mod proxy;
mod revocations;
mod schema;
mod tls;
mod tools;
mod tunnel;
mod unit;
mod window;
mod workflow;

pub use admitted::{Admitted, Hop, Limits};
pub use api::{Api, Server};
pub use auth::{Auth, SecretRef, SigV4};
pub use content::{ContentRule, ContentRules};
pub use decide::{Decision, Denial, DenyCode, Facts};
pub use diagnostic::{Diagnostic, Diagnostics, Severity, Source};
pub use digest::Digest;
pub use explain::{
    Ask, CallerStep, Condition, Explanation, Outcome, Place, RuleStep, Verdict, Who, WorkflowStep,
};
pub use grant::Refused;
pub use identity::{Caller, CallerKind, IdentityError, KnownKey, Presented, SelectError};
pub use indirect::{Indirect, IndirectKind};
pub use lint::Tests;
pub use locality::{EgressMode, Locality};
pub use model::{EngineTarget, Model, Price, Target, WeightFormat};
pub use moment::Moment;
pub use name::{CallerName, KeyId, ModelName, NameError, ProviderName, ProxyName, WorkflowName};
pub use order::{Balance, Order, Retry};
pub use policy::Policy;
pub use priority::Priority;
pub use provider::{BreakerRule, Destination, Device, Probe, Provider, Scheme, Timeouts};
pub use proxy::{Proxy, Resolve};
pub use revocations::{Revocations, Revoked};
pub use schema::{SchemaOf, schema};
pub use tls::{ClientCert, Roots, TlsRule};
pub use tunnel::{Tunnel, TunnelMode, TunnelRule};
pub use unit::read_duration;
pub use workflow::{StoredResponses, Workflow};
