//! A broker in the test's own process, at the other end of a line.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use egress::{Brokered, Direct, Policies, Way};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use policy::Policy;

/// The policies that a broker finds when it looks.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Vec<Arc<Policy>>>);

impl Shelf {
    pub(crate) fn put(&self, policy: &Arc<Policy>) {
        self.0.lock().unwrap().push(Arc::clone(policy));
    }
}

impl Policies for Shelf {
    fn read<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Arc<Policy>, String>> {
        let found =
            self.0.lock().unwrap().iter().find(|policy| policy.digest().to_string() == digest).cloned();
        async move { found.ok_or_else(|| "the files hold another policy".to_owned()) }.boxed()
    }
}

/// Starts a broker that opens connections by `direct`, at `end` of a line.
pub(crate) fn serve(end: OwnedFd, direct: Arc<Direct>, policy: &Arc<Policy>) -> tokio::task::JoinHandle<()> {
    let shelf = Shelf::default();
    shelf.put(policy);
    let digest = policy.digest().to_string();
    tokio::spawn(async move { egress::serve_broker(end, direct, digest, Arc::new(shelf)).await.unwrap() })
}

/// Puts a broker in front of `direct`.
pub(crate) fn in_front_of(direct: Arc<Direct>, policy: &Arc<Policy>) -> Arc<dyn Way> {
    let (near, far) = egress::line::pair().unwrap();
    serve(far, direct, policy);
    Brokered::start(near).unwrap()
}
