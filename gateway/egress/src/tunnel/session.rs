//! One connection of an agent, from its request to its end.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName};
use tokio::time::{Instant, sleep, timeout_at};

use super::client::{Arrival, Client};
use super::credentials::Credentials;
use super::exit::{Connected, Io};
use super::head::Head;
use super::places::Place;
use super::record::{Open, Pending};
use super::refusal::Refusal;
use super::relay::Metered;
use super::request::{Form, Request};
use super::rules::{Denied, Guest, Passage, Shown};
use super::through::{End, Tunnel};
use super::{Proxy, plain};
use crate::dial::DialError;

/// What somebody in between adds: where the request comes from is then somebody else's place.
const RELAYED: [HeaderName; 4] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("via"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// A request that has a connection.
struct Granted {
    request: Request,
    guest: Guest,
    passage: Passage,
    connected: Connected,
    place: Place,
}

/// Serves one connection to its end.
pub(super) async fn run<S: Io>(proxy: &Proxy, stream: S, peer: SocketAddr) {
    let mut client = Client::new(stream);
    let arrival = client.request(proxy.limits.head).await;
    let head = match arrival {
        Arrival::Request(head) => head,
        Arrival::Nobody => return,
        Arrival::Refused(refusal) => {
            proxy.begin(peer).refused(refusal.code());
            return client.refuse(&refusal).await;
        }
    };
    let mut pending = proxy.begin(peer);
    match prepare(proxy, &mut pending, head, peer).await {
        Err(refusal) => {
            pending.refused(refusal.code());
            tracing::info!(%peer, code = refusal.code(), "tunnel refused");
            client.refuse(&refusal).await;
        }
        Ok(granted) => match pending.opened(&granted.connected) {
            Ok(open) => carry(proxy, client, granted, open).await,
            Err(error) => {
                tracing::error!(%error, "tunnel refused");
                client.refuse(&Refusal::unrecorded()).await;
            }
        },
    }
}

/// Decides, in the order in which a refusal says least to strangers, and connects.
async fn prepare(
    proxy: &Proxy,
    pending: &mut Pending,
    head: Head,
    peer: SocketAddr,
) -> Result<Granted, Refusal> {
    let request = Request::read(head).map_err(|error| Refusal::request(&error))?;
    let kind = request.form.kind();
    pending.asked_for(&request.target, kind);
    let guest = identify(proxy, &request, peer)?;
    pending.came_from(&guest);
    let passage = match proxy.rules.decide(&guest, &request.target, kind) {
        Ok(passage) => passage,
        Err(denied) if denied.waived_by(guest.mode) => {
            pending.would_be_denied(denied.code());
            Passage::PUBLIC_TLS
        }
        Err(denied) => return Err(Refusal::denied(denied, &guest.workflow, &request.target)),
    };
    let max = guest.connections_max;
    let place = proxy.places.take(&guest.workflow, max);
    let place = place.ok_or_else(|| Refusal::too_many(&guest.workflow, max))?;
    let limit = proxy.limits.connect;
    let deadline = Instant::now() + limit;
    let opening = proxy.exit.open(&request.target, &passage.cidrs, deadline);
    let connected = timeout_at(deadline, opening).await.unwrap_or(Err(DialError::Timeout(limit)));
    let connected = connected.map_err(|error| Refusal::dial(&error, &request.target))?;
    Ok(Granted { request, guest, passage, connected, place })
}

fn identify(proxy: &Proxy, request: &Request, peer: SocketAddr) -> Result<Guest, Refusal> {
    let credentials = request.credentials.as_ref().map(Credentials::read).transpose();
    let credentials = credentials.map_err(Refusal::credentials)?;
    let from = (!is_relayed(&request.headers)).then(|| peer.ip().to_canonical());
    let shown = Shown { from, credentials: credentials.as_ref() };
    proxy.rules.admit(&shown).map_err(|error| Refusal::not_admitted(&error))
}

fn is_relayed(headers: &HeaderMap) -> bool {
    RELAYED.iter().any(|name| headers.contains_key(name))
}

/// Lets a connection be used until it ends, is cut, or its time is over.
async fn carry<S: Io>(proxy: &Proxy, mut client: Client<S>, granted: Granted, mut open: Open) {
    let Granted { request, guest, passage, connected, place } = granted;
    let traffic = open.traffic();
    let mut upstream = Metered::new(connected.stream, open.traffic());
    let using = async {
        match &request.form {
            Form::Connect => {
                let (target, mode) = (&request.target, guest.mode);
                let tunnel = Tunnel { target, inside: passage.inside, mode, hello_limit: proxy.limits.hello };
                tunnel.run(&mut client, &mut upstream, &mut open).await
            }
            Form::Plain(exchange) => plain::run(&request, exchange, &mut client, &mut upstream).await,
        }
    };
    let end = tokio::select! {
        end = using => end,
        () = traffic.idle(proxy.limits.idle) => End::quiet("timeout_idle"),
        () = sleep(proxy.limits.life) => End::quiet("timeout_total"),
        denied = cut(proxy, &guest, &request) => End::quiet(denied.code()),
    };
    // Free before the record says so.
    drop((upstream, place));
    open.end(end.code);
    client.finish(end.last).await;
}

/// Waits until the guest may no longer have what was granted.
async fn cut(proxy: &Proxy, guest: &Guest, request: &Request) -> Denied {
    let mut generation = proxy.rules.generation();
    // Whatever changed since the decision is looked at too.
    generation.mark_changed();
    while generation.changed().await.is_ok() {
        match proxy.rules.decide(guest, &request.target, request.form.kind()) {
            Err(denied) if !denied.waived_by(guest.mode) => return denied,
            Ok(_) | Err(_) => {}
        }
    }
    // Nobody can change the rules any more: the process ends.
    std::future::pending().await
}
