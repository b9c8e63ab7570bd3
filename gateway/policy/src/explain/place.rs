//! Where a hop leads, in words that a reviewer can compare.

use std::fmt;

use serde_json::{Value, json};

use crate::admitted::Hop;
use crate::locality::Locality;
use crate::model::{Model, Target};
use crate::name::{ModelName, ProviderName, ProxyName};

/// One target of a call: the model, and where its answer is computed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The model's name in the policy.
    pub model: ModelName,
    /// The provider that serves it.
    pub provider: ProviderName,
    /// The model's name as the provider knows it.
    pub upstream_name: String,
    /// Where the provider computes.
    pub locality: Locality,
    /// The host and port that are dialled; nothing for a model in this process.
    pub endpoint: Option<String>,
    /// The region that the policy declares.
    pub region: Option<String>,
    /// The proxy that connections go through.
    pub proxy: Option<ProxyName>,
}

impl Place {
    /// Describes where `model` is answered.
    pub(crate) fn of(model: &Model) -> Self {
        let to = match model.target() {
            Target::Engine(_) => None,
            Target::Http(to) => Some(to),
        };
        Self {
            model: model.name().clone(),
            provider: model.provider().clone(),
            upstream_name: model.upstream_name().to_owned(),
            locality: model.locality(),
            endpoint: to.map(|to| format!("{}:{}", to.host(), to.port())),
            region: to.and_then(|to| to.region().map(str::to_owned)),
            proxy: to.and_then(|to| to.proxy().map(|proxy| proxy.name().clone())),
        }
    }

    /// Describes every hop, in order.
    pub(crate) fn all(hops: &[Hop]) -> Vec<Self> {
        hops.iter().map(|hop| Self::of(&hop.0)).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "model": self.model.as_str(),
            "provider": self.provider.as_str(),
            "upstream_model": self.upstream_name,
            "locality": self.locality.as_str(),
            "endpoint": self.endpoint,
            "region": self.region,
            "proxy": self.proxy.as_ref().map(ProxyName::as_str),
        })
    }
}

/// Such as `opus at anthropic (hosted, api.anthropic.com:443, region us)`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, provider, upstream_name: _, locality, endpoint, region, proxy: _ } = self;
        write!(f, "{model} at {provider} ({locality}, {}", endpoint.as_deref().unwrap_or("in this process"))?;
        if let Some(region) = region {
            write!(f, ", region {region}")?;
        }
        f.write_str(")")
    }
}
