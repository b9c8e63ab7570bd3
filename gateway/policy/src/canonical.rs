//! The canonical form of a policy, over which its digest is taken.
//!
//! JSON as RFC 8785 writes it. Every structure is taken apart by name, so a field that is added and not
//! considered here does not compile. Secrets are not in it because they are not in the policy.

use serde_json::{Value, json};

use crate::admitted::Limits;
use crate::api::{Api, Server};
use crate::auth::{Auth, SecretRef, SigV4};
use crate::compile::CONNECTIONS;
use crate::content::ContentRules;
use crate::digest::Digest;
use crate::glob::Glob;
use crate::grant::Grant;
use crate::host::HostPattern;
use crate::identity::{CallerRule, KeyRule};
use crate::jcs;
use crate::model::{EngineTarget, Model, Price, Target, WeightFormat};
use crate::order::{Order, Retry};
use crate::policy::Contents;
use crate::priority::Priority;
use crate::provider::{BreakerRule, Destination, Probe, Provider, Timeouts};
use crate::proxy::Proxy;
use crate::tls::{ClientCert, Roots, TlsRule, show_pin};
use crate::tools::ToolRules;
use crate::tunnel::{HostPorts, HostRule, TunnelMode};
use crate::window::Window;
use crate::workflow::{Entry, Route, StoredResponses, When, Workflow};

impl Contents {
    /// Returns the SHA-256 of the canonical form.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&jcs::canonical(&self.canonical()))
    }

    /// Returns the canonical form as a value.
    pub(crate) fn canonical(&self) -> Value {
        let Self { deny_hosts, proxies, providers, models, workflows } = self;
        let mut value = object([
            ("version", 1.into()),
            ("deny_hosts", patterns(deny_hosts)),
            ("providers", object(providers.iter().map(|(name, part)| (name.as_str(), provider(part))))),
            ("models", object(models.iter().map(|(name, part)| (name.as_str(), model(part))))),
            ("workflows", object(workflows.iter().map(|(name, part)| (name.as_str(), workflow(part))))),
        ]);
        if !proxies.is_empty() {
            value["proxies"] = object(proxies.iter().map(|(name, part)| (name.as_str(), proxy(part))));
        }
        value
    }
}

/// Makes an object of values that are moved; `json!` would copy them, and what is in them, once for each level.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn patterns(patterns: &[HostPattern]) -> Value {
    patterns.iter().map(ToString::to_string).collect()
}

fn provider(provider: &Provider) -> Value {
    match provider {
        Provider::Engine { name: _, device } => json!({ "engine": { "device": device.as_str() } }),
        Provider::Http(part) => object([(part.api.as_str(), destination(part))]),
    }
}

fn destination(destination: &Destination) -> Value {
    let Destination {
        provider: _,
        api,
        scheme,
        host,
        port,
        base_path,
        cidrs,
        locality,
        region,
        auth,
        proxy,
        tls,
        timeouts,
        health,
        breaker,
    } = destination;
    let Timeouts { connect, first_byte, idle, total } = timeouts;
    let mut value = json!({
        "scheme": scheme.as_str(),
        "host": host.to_string(),
        "port": port,
        "base_path": base_path,
        "cidrs": cidrs.iter().map(ToString::to_string).collect::<Value>(),
        "locality": locality.as_str(),
        "region": region,
        "auth": authentication(auth),
        "timeouts_ms": {
            "connect": connect.as_millis(),
            "first_byte": first_byte.as_millis(),
            "idle": idle.as_millis(),
            "total": total.as_millis(),
        },
    });
    // What follows stands here only where the file has to say it, so that older policies keep their digests.
    if let Some(proxy) = proxy {
        value["proxy"] = proxy.name.as_str().into();
    }
    if *tls != TlsRule::default() {
        value["tls"] = tls_rule(tls);
    }
    if let Some(Probe { path, interval }) = health {
        value["health"] = json!({ "path": path, "interval_ms": interval.as_millis() });
    }
    if *breaker != BreakerRule::default() {
        let BreakerRule { failures, window, open_for } = breaker;
        value["breaker"] = json!({
            "failures": failures,
            "window_ms": window.as_millis(),
            "open_for_ms": open_for.as_millis(),
        });
    }
    match api {
        Api::OpenAi(server) if *server != Server::at(host) => value["server"] = server.as_str().into(),
        Api::AzureOpenAi { api_version: Some(version) } => value["api_version"] = version.as_str().into(),
        Api::AzureOpenAi { api_version: None }
        | Api::OpenAi(_)
        | Api::Anthropic
        | Api::Bedrock
        | Api::Vertex
        | Api::Gemini => {}
    }
    value
}

fn proxy(proxy: &Proxy) -> Value {
    let Proxy { name: _, scheme, host, port, auth_file, ca_file, resolve, cidrs } = proxy;
    json!({
        "scheme": scheme.as_str(),
        "host": host.to_string(),
        "port": port,
        "auth_file": auth_file.as_ref().map(|path| path.to_string_lossy()),
        "ca_file": ca_file.as_ref().map(|path| path.to_string_lossy()),
        "resolve": resolve.as_str(),
        "cidrs": cidrs.iter().map(ToString::to_string).collect::<Value>(),
    })
}

fn tls_rule(rule: &TlsRule) -> Value {
    let TlsRule { ca_file, roots, pins, client_cert } = rule;
    let client_cert = client_cert.as_ref().map(|ClientCert { cert_file, key_file }| {
        json!({ "cert_file": cert_file.to_string_lossy(), "key_file": key_file.to_string_lossy() })
    });
    json!({
        "ca_file": ca_file.as_ref().map(|path| path.to_string_lossy()),
        "public_roots": *roots == Roots::Public,
        "pins": pins.iter().map(show_pin).collect::<Value>(),
        "client_cert": client_cert,
    })
}

fn authentication(auth: &Auth) -> Value {
    match auth {
        Auth::None => Value::Null,
        Auth::Bearer(reference) => json!({ "bearer": secret(reference) }),
        Auth::Headers(headers) => {
            let headers = headers.iter().map(|(name, reference)| (name.as_str(), secret(reference)));
            json!({ "headers": object(headers) })
        }
        Auth::SigV4(SigV4 { region, access_key_id, secret_access_key, session_token }) => json!({
            "sigv4": {
                "region": region,
                "access_key_id": secret(access_key_id),
                "secret_access_key": secret(secret_access_key),
                "session_token": session_token.as_ref().map(secret),
            },
        }),
        Auth::Google(reference) => json!({ "google": secret(reference) }),
    }
}

fn secret(reference: &SecretRef) -> Value {
    match reference {
        SecretRef::File(path) => json!({ "file": path.to_string_lossy() }),
        SecretRef::Env(variable) => json!({ "env": variable }),
    }
}

fn model(model: &Model) -> Value {
    let Model {
        name: _,
        provider,
        upstream_name,
        locality: _,
        target,
        context_tokens,
        weights_digest,
        price,
    } = model;
    let (path, weights) = match target {
        Target::Engine(EngineTarget { path, device: _, weights }) => (Some(path.to_string_lossy()), *weights),
        Target::Http(_) => (None, WeightFormat::AsStored),
    };
    let mut value = json!({
        "provider": provider.as_str(),
        "upstream_name": upstream_name,
        "path": path,
        "context_tokens": context_tokens,
        "weights_digest": weights_digest.map(|digest| digest.to_string()),
    });
    // Absent where nothing is asked for: policies from before the keys keep their digests.
    if weights != WeightFormat::AsStored {
        value["weights"] = weights.as_str().into();
    }
    if let Some(Price { input, cached_input, output }) = price {
        value["price"] = json!({ "input": input, "cached_input": cached_input, "output": output });
    }
    value
}

/// Returns the canonical form of one workflow.
pub(crate) fn workflow(workflow: &Workflow) -> Value {
    let Workflow {
        name: _,
        owner,
        callers,
        grant,
        route,
        reachable: _,
        tools,
        limits,
        retention,
        must_survive,
        stored_responses,
        content,
        tunnels,
        connections_max,
        priority,
    } = workflow;
    let Route { conditional, otherwise } = route;
    let Limits { max_body_bytes, stream_idle, total } = limits;
    let conditional = conditional.iter().map(|(when, part)| conditional_entry(when, part));
    let mut limits = json!({
        "max_body_bytes": max_body_bytes,
        "stream_idle_ms": stream_idle.as_millis(),
        "total_ms": total.as_millis(),
    });
    // Absent where nothing is asked for, here and below: policies from before the keys keep their digests.
    if *connections_max != CONNECTIONS {
        limits["connections"] = (*connections_max).into();
    }
    let mut value = object([
        ("owner", (&**owner).into()),
        ("callers", callers.iter().map(caller).collect()),
        ("egress", egress(grant, *content, *tunnels)),
        ("route", conditional.chain([entry(otherwise)]).collect()),
        ("limits", limits),
        ("retention_ms", json!(retention.as_millis())),
    ]);
    let ToolRules { allow, deny } = tools;
    if !allow.is_empty() {
        value["tools_allow"] = allow.iter().map(|list| globs(list)).collect();
    }
    if !deny.is_empty() {
        value["tools_deny"] = globs(deny);
    }
    if !must_survive.is_empty() {
        value["must_survive"] = must_survive.iter().map(String::as_str).collect();
    }
    if *priority != Priority::default() {
        value["priority"] = priority.as_str().into();
    }
    if let Some(StoredResponses { keep, max_bytes }) = stored_responses {
        value["stored_responses"] = json!({ "keep_ms": keep.as_millis(), "max_bytes": max_bytes });
    }
    value
}

fn conditional_entry(when: &When, part: &Entry) -> Value {
    let When { model, tools, input_tokens_max, images, task, time } = when;
    let mut value = entry(part);
    value["model"] = model.as_ref().map(Glob::as_str).into();
    value["tools"] = (*tools).into();
    value["input_tokens_max"] = (*input_tokens_max).into();
    if let Some(images) = images {
        value["images"] = (*images).into();
    }
    if let Some(task) = task {
        value["task"] = task.as_str().into();
    }
    if let Some(Window { days, from, to, ahead }) = time {
        value["time"] = json!({ "days": days, "from": from, "to": to, "ahead": ahead });
    }
    value
}

fn egress(grant: &Grant, content: ContentRules, tunnels: TunnelMode) -> Value {
    let Grant { mode, providers, hosts } = grant;
    let mut value = object([
        ("mode", mode.as_str().into()),
        ("providers", providers.iter().map(AsRef::<str>::as_ref).collect()),
        ("hosts", hosts.iter().map(host_rule).collect()),
    ]);
    // Absent where nothing is asked for: policies from before the keys keep their digests.
    if content != ContentRules::of(*mode) {
        let ContentRules { urls, hosted_tools, stored_state, unknown_fields } = content;
        value["content"] = json!({
            "urls": urls.as_str(),
            "hosted_tools": hosted_tools.as_str(),
            "stored_state": stored_state.as_str(),
            "unknown_fields": unknown_fields.as_str(),
        });
    }
    if let TunnelMode::Report { until } = tunnels {
        value["tunnels"] = json!({ "report": { "until": until.map(|until| until.to_string()) } });
    }
    value
}

fn host_rule(rule: &HostRule) -> Value {
    match rule {
        HostRule::Host(host) => host.to_string().into(),
        HostRule::Ports(HostPorts { host, ports, plain, cidrs }) => json!({
            "host": host.to_string(),
            "ports": ports,
            "plain": plain,
            "cidrs": cidrs.iter().map(ToString::to_string).collect::<Value>(),
        }),
    }
}

fn globs(patterns: &[Glob]) -> Value {
    patterns.iter().map(Glob::as_str).collect()
}

fn entry(entry: &Entry) -> Value {
    let Entry { rule: _, hops, order, retry, shadow } = entry;
    let hops: Value = hops.iter().map(|hop| hop.model().as_str()).collect();
    let mut value = object([("to", hops)]);
    // Absent where nothing is asked for: policies from before the keys keep their digests.
    match order {
        Order::Listed => {}
        Order::Split(weights) => value["split"] = weights.iter().copied().collect(),
        Order::Balance(balance) => value["balance"] = balance.as_str().into(),
    }
    if *retry != Retry::default() {
        let Retry { attempts, budget_percent } = retry;
        value["retry"] = json!({ "attempts": attempts, "budget_percent": budget_percent });
    }
    if let Some(shadow) = shadow {
        value["shadow"] = shadow.model().as_str().into();
    }
    value
}

fn caller(caller: &CallerRule) -> Value {
    match caller {
        CallerRule::Loopback => json!("loopback"),
        CallerRule::Source(network) => json!({ "source": network.to_string() }),
        CallerRule::ApiKey(KeyRule { id, sha256, caller, expires }) => {
            let mut key = json!({ "id": id.as_str(), "sha256": sha256.to_string() });
            // Absent where nothing is asked for: policies from before the keys keep their digests.
            if let Some(caller) = caller {
                key["caller"] = caller.as_str().into();
            }
            if let Some(expires) = expires {
                key["expires"] = expires.to_string().into();
            }
            json!({ "api_key": key })
        }
    }
}
