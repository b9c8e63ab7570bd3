//! Copies of calls, sent to another model for comparison.
//!
//! A copy goes the way of a call, past the same decision of egress and with a record of its own, marked as a shadow.
//! Nobody gets its answer and nobody waits for it; it counts for no caller, no workflow and no upstream, and it is
//! left out when too many are on their way.

use std::sync::Arc;

use audit::RequestFacts;
use http_body_util::BodyExt;
use policy::{Caller, Hop};
use tokio::time::Instant;

use crate::pipeline::{Attempt, Call, fail, unrevoked};
use crate::question::Question;
use crate::record::{Opening, Purpose, Record};

/// Sends a copy of `call` where the policy wants one, if there is room. Returns at once.
pub(crate) fn send<Q: Question>(call: &Call<Q>, caller: &Caller, request: RequestFacts) {
    let Some(hop) = call.admitted.shadow().filter(|_| call.question.is_comparable()) else { return };
    let leave = call.app.router.shadow(hop);
    let place = Arc::clone(&call.app.places).try_acquire_owned();
    let (Some(leave), Ok(place)) = (leave, place) else {
        call.app.metrics.shadow.with_label_values(&[hop.model().as_ref(), "left_out"]).inc();
        return;
    };
    let copy = Call {
        app: Arc::clone(&call.app),
        active: Arc::clone(&call.active),
        admitted: call.admitted.clone(),
        question: call.question.clone(),
        owner: call.owner.clone(),
        headers: call.headers.clone(),
        query: call.query.clone(),
        deadline: call.deadline,
        place,
        purpose: Purpose::Shadow,
    };
    let (hop, caller) = (hop.clone(), caller.clone());
    tokio::spawn(async move {
        run(copy, &hop, &caller, request).await;
        drop(leave);
    });
}

async fn run<Q: Question>(call: Call<Q>, hop: &Hop, caller: &Caller, request: RequestFacts) {
    let (purpose, started) = (Purpose::Shadow, Instant::now());
    let opening = Opening { caller, admitted: &call.admitted, hop, request, purpose, started };
    let record = match Record::open(&call.app, opening).await {
        Ok(record) => record,
        Err(unrecorded) => return unrecorded.log(),
    };
    match unrevoked(call, hop, record).await {
        (Attempt::Began(response), _) => {
            // Taken to its end, so that the record has the end; the deadline of the call holds here too.
            let mut body = response.into_body();
            while body.frame().await.is_some() {}
        }
        (Attempt::Failed(error) | Attempt::Refused(error), back) => fail(error, back).await.log(),
    }
}
