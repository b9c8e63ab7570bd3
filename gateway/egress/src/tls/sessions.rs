//! TLS with every destination of a policy, prepared when the policy takes effect.
//!
//! So a file that cannot be used keeps the policy from taking effect, instead of failing a call weeks later, and all
//! connections of one policy go by the same files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use policy::{Policy, Provider, ProviderName, TlsRule};
use rustls::ClientConfig;
use rustls::client::Resumption;

use super::{Roots, TlsError};

/// What a provider's entry asks of TLS cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("the provider {provider} cannot be reached by TLS as the policy wants it")]
pub struct Unprepared {
    provider: ProviderName,
    source: Box<TlsError>,
}

/// The configurations of one policy, by provider.
pub(crate) struct Sessions(HashMap<ProviderName, ClientConfig>);

impl Sessions {
    /// Prepares all of `policy`; relative paths start at `base`.
    ///
    /// # Errors
    /// Returns [`Unprepared`] for the first provider whose files cannot be used.
    pub(crate) fn new(policy: &Policy, roots: &Roots, base: &Path) -> Result<Self, Unprepared> {
        let mut configs = HashMap::new();
        for provider in policy.providers() {
            let Provider::Http(destination) = provider else { continue };
            let config = roots.config_for(destination.tls(), base);
            let provider = destination.provider().clone();
            match config {
                Ok(config) => configs.insert(provider, config),
                Err(error) => return Err(Unprepared { provider, source: Box::new(error) }),
            };
        }
        Ok(Self(configs))
    }

    /// Returns a configuration that shares no session with any other.
    ///
    /// Tickets live in it, and one of a workflow must not appear on another workflow's connection.
    pub(crate) fn fresh(&self, provider: &ProviderName) -> Arc<ClientConfig> {
        let mut config = self.0.get(provider).expect("every destination of the policy was prepared").clone();
        config.resumption = Resumption::default();
        Arc::new(config)
    }
}

/// Says whether a rule is the same with other files at the same paths.
pub(crate) fn reads_no_file(rule: &TlsRule) -> bool {
    rule.ca_file.is_none() && rule.client_cert.is_none()
}
