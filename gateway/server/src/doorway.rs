//! A listener that stops accepting before the connections that it accepted are told to end.
//!
//! A client's request may still be on its way when its connection has been accepted, and a connection without a request
//! is closed at once when a server is told to end. So accepting stops first, and the end follows a moment later; who
//! connects in between waits in the listener's queue for whoever accepts next.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long an accepted connection has for the first bytes of its next request.
pub(crate) const ACCEPTED_GRACE: Duration = Duration::from_millis(100);

/// A listener, and whether it still accepts.
pub(crate) struct Doorway {
    pub(crate) listener: TcpListener,
    pub(crate) is_shut: watch::Receiver<bool>,
}

impl Listener for Doorway {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let shut = async {
            // An error means that nobody can shut it any more, and neither does anybody serve.
            drop(self.is_shut.wait_for(|is_shut| *is_shut).await);
        };
        let accepted = tokio::select! {
            biased;
            () = shut => None,
            accepted = Listener::accept(&mut self.listener) => Some(accepted),
        };
        match accepted {
            Some(accepted) => accepted,
            None => pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Makes an answer the last one of its connection once the doorway is shut.
pub(crate) fn last_answers(router: Router, is_shut: watch::Receiver<bool>) -> Router {
    router.layer(from_fn_with_state(is_shut, last_answer))
}

async fn last_answer(State(is_shut): State<watch::Receiver<bool>>, request: Request, next: Next) -> Response {
    // A connection of HTTP/2 is told to end by a frame of its own.
    let has_header = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if has_header && *is_shut.borrow() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
