//! Which way connections take, and whom they trust at its end.
//!
//! A workflow's reach can stay what it is while its connections go through somebody else's hands, or end at whoever
//! has another certificate. Each destination that both policies let it reach is compared with itself.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Aspect, Change, Effect};
use crate::name::ProviderName;
use crate::policy::Policy;
use crate::provider::{Destination, Provider};
use crate::proxy::{Proxy, Resolve};
use crate::tls::{Roots, TlsRule, show_pin};
use crate::workflow::Workflow;

/// The destinations that a workflow may dial.
type Reach<'p> = BTreeMap<&'p ProviderName, &'p Destination>;

/// Returns what differs in the ways of one workflow; it is absent from a policy that does not have it.
pub(super) fn changes(
    (base, before): (&Policy, Option<&Workflow>),
    (new, after): (&Policy, Option<&Workflow>),
) -> Vec<Change> {
    let (was, is) = (reach(base, before), reach(new, after));
    let names: BTreeSet<&ProviderName> = was.keys().chain(is.keys()).copied().collect();
    let mut changes = Vec::new();
    for name in names {
        match (was.get(name).copied(), is.get(name).copied()) {
            (Some(was), Some(is)) => {
                changes.extend(proxy(name, was.proxy.as_deref(), is.proxy.as_deref()));
                changes.extend(certificates(name, &was.tls, &is.tls));
                changes.extend(proxy_roots(was.proxy.as_deref(), is.proxy.as_deref()));
            }
            // That the destination is reached at all, or no longer, is told by others; this is by which way.
            (None, Some(is)) if is.proxy.is_some() => {
                let after = Some(shown(name, is.proxy.as_deref()));
                changes.push(Change {
                    aspect: Aspect::Proxies,
                    effect: Effect::Widening,
                    before: None,
                    after,
                });
            }
            (Some(was), None) if was.proxy.is_some() => {
                let before = Some(shown(name, was.proxy.as_deref()));
                let effect = Effect::Tightening;
                changes.push(Change { aspect: Aspect::Proxies, effect, before, after: None });
            }
            _ => {}
        }
    }
    changes
}

fn reach<'p>(policy: &'p Policy, workflow: Option<&Workflow>) -> Reach<'p> {
    let Some(workflow) = workflow else { return Reach::new() };
    let destinations = policy.providers().filter_map(|provider| match provider {
        Provider::Http(to) => Some((&to.provider, to.as_ref())),
        Provider::Engine { .. } => None,
    });
    destinations
        .filter(|(name, to)| policy.may_dial(&workflow.name, name, &to.host, to.port).is_ok())
        .collect()
}

/// Another way is a wider one, whichever it is: somebody sees the connections who did not. Behind the same proxy it
/// matters who resolves names.
fn proxy(name: &ProviderName, was: Option<&Proxy>, is: Option<&Proxy>) -> Option<Change> {
    let (before, after) = (shown(name, was), shown(name, is));
    if before == after {
        return None;
    }
    let address = |proxy: Option<&Proxy>| proxy.map(ToString::to_string);
    let resolve = |proxy: Option<&Proxy>| proxy.map(|proxy| proxy.resolve);
    let effect = match resolve(is).cmp(&resolve(was)) {
        _ if address(was) != address(is) => Effect::Widening,
        Ordering::Greater => Effect::Widening,
        Ordering::Less => Effect::Tightening,
        Ordering::Equal => Effect::Neutral,
    };
    Some(Change { aspect: Aspect::Proxies, effect, before: Some(before), after: Some(after) })
}

fn shown(name: &ProviderName, proxy: Option<&Proxy>) -> String {
    match proxy {
        None => format!("{name} directly"),
        Some(proxy) => {
            let who = match proxy.resolve {
                Resolve::Local => "",
                Resolve::Proxy => ", which alone decides at which addresses",
            };
            format!("{name} through {} ({proxy}){who}", proxy.name)
        }
    }
}

fn certificates(name: &ProviderName, was: &TlsRule, is: &TlsRule) -> Vec<Change> {
    // What the gateway shows of itself opens nothing here; it stands in the declaration.
    let TlsRule { ca_file, roots, pins, client_cert: _ } = is;
    let mut changes = files(name.as_str(), was.ca_file.as_deref(), ca_file.as_deref());
    let mut tell = |effect, before: Option<String>, after: Option<String>| {
        let labelled = |text: String| format!("{name}: {text}");
        let (before, after) = (before.map(labelled), after.map(labelled));
        changes.push(Change { aspect: Aspect::Certificates, effect, before, after });
    };
    if was.roots != *roots {
        let alone = Some("trusts no public root".to_owned());
        match roots {
            Roots::Public => tell(Effect::Widening, alone, None),
            Roots::FileAlone => tell(Effect::Tightening, None, alone),
        }
    }
    let all = |pins: &[[u8; 32]]| {
        (!pins.is_empty())
            .then(|| format!("only {}", pins.iter().map(show_pin).collect::<Vec<_>>().join(", ")))
    };
    if was.pins != *pins {
        // A key that is added to others is one more that may answer; the first one shuts all others out.
        let is_within = |few: &[[u8; 32]], many: &[[u8; 32]]| few.iter().all(|pin| many.contains(pin));
        let narrows = was.pins.is_empty() || (!pins.is_empty() && is_within(pins, &was.pins));
        let effect = if narrows { Effect::Tightening } else { Effect::Widening };
        tell(effect, all(&was.pins), all(pins));
    }
    changes
}

fn proxy_roots(was: Option<&Proxy>, is: Option<&Proxy>) -> Vec<Change> {
    let (Some(was), Some(is)) = (was, is) else { return Vec::new() };
    files(&format!("proxy {}", is.name), was.ca_file(), is.ca_file())
}

/// Whoever can sign for a root that is trusted now can stand at the end of the connection.
fn files(whose: &str, was: Option<&Path>, is: Option<&Path>) -> Vec<Change> {
    if was == is {
        return Vec::new();
    }
    let text = |path: &Path| format!("{whose}: trusts {}", path.display());
    let change = |effect, before, after| Change { aspect: Aspect::Certificates, effect, before, after };
    let lost = was.map(|path| change(Effect::Tightening, Some(text(path)), None));
    let gained = is.map(|path| change(Effect::Widening, None, Some(text(path))));
    lost.into_iter().chain(gained).collect()
}
