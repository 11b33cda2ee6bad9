//! The HTTP server: reads a call, judges the caller, lets faults and traps strike, asks the
//! service, and writes the journal.

use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{
    Shared,
    answer::{Answer, Refusal},
    control,
    fault::{self, Effect},
    gate,
    identity::Session,
    journal::Entry,
    latency::Latency,
    request::Call,
    services,
    trap::{self, Caught, Moment, Release},
    world::World,
};

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // A simulator that delays small answers would only measure itself.
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(shared.clone(), request));
            // A client that goes away is none of our business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(shared: Shared, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if parts.uri.path().starts_with("/_sim/") {
        return Ok(response(control::answer(&mut shared.world(), parts.uri.path(), &body)));
    }
    let Some(call) = Call::read(&parts, &body) else {
        let refusal =
            Refusal::new(403, "MissingAuthenticationToken", "Missing Authentication Token");
        return Ok(response(refusal.answer("")));
    };
    let (session, struck, caught, mut delay) = {
        let mut world = shared.world();
        let (session, struck) = enter(&mut world, &call);
        let is_lost = matches!(struck, Ok(Some(Effect::Reset | Effect::Hang)));
        let caught = if is_lost { None } else { trap::spring(&mut world.traps, &call) };
        (session, struck, caught, world.latency.as_mut().map(Latency::draw).unwrap_or_default())
    };
    let is_cut = matches!(struck, Ok(Some(Effect::Cut)));
    let refusal = match struck {
        Ok(None | Some(Effect::TimePasses(_) | Effect::Cut)) => None,
        Err(refusal) | Ok(Some(Effect::Refuse(refusal))) => Some(refusal),
        Ok(Some(Effect::Throttle)) => Some(Refusal::throttled(&call.service)),
        Ok(Some(Effect::DenyByScp)) => Some(denied_by_scp(&call, session.as_ref())),
        Ok(Some(Effect::Reset)) => return Err(cut()),
        Ok(Some(Effect::Hang)) => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
        Ok(Some(Effect::Delay(by))) => {
            delay += by;
            None
        }
    };
    if !delay.is_zero() {
        wait(delay).await;
    }
    let arrival = Arrival { shared, parts, body, call, session, refusal, is_cut };
    if caught.is_none() {
        return arrival.carry_out(None).await;
    }
    // Not here, where it would end with the connection of its caller.
    tokio::spawn(arrival.carry_out(caught)).await.map_err(io::Error::other)?
}

/// A call at the door of its service.
struct Arrival {
    shared: Shared,
    parts: Parts,
    body: Bytes,
    call: Call,
    session: Option<Session>,
    refusal: Option<Refusal>,
    /// Whether the connection is cut instead of an answer.
    is_cut: bool,
}

impl Arrival {
    /// Carries the call out, and holds it where a trap wants it.
    async fn carry_out(self, mut caught: Option<Caught>) -> io::Result<Response<Full<Bytes>>> {
        let is_cut = self.is_cut;
        if trap::hold(&mut caught, Moment::Arrived).await == Release::Drop {
            return Err(cut());
        }
        let response = self.apply().await;
        if trap::hold(&mut caught, Moment::Applied).await == Release::Drop || is_cut {
            return Err(cut());
        }
        Ok(response)
    }

    /// Asks the service, and writes the journal.
    async fn apply(self) -> Response<Full<Bytes>> {
        let Self { shared, parts, body, call, session, refusal, is_cut: _ } = self;
        let answer = match (refusal, &session, &shared.gate) {
            (Some(refusal), ..) => refusal.answer(&call.service),
            (None, Some(session), Some(gate)) if gate::forwards(&call) => {
                gate.forward(&shared, session, &call, &parts, body).await
            }
            (None, Some(session), _) => services::answer(&mut shared.world(), session, &call)
                .unwrap_or_else(|refusal| refusal.answer(&call.service)),
            (None, None, _) => Refusal::unknown_key(&call.service).answer(&call.service),
        };
        let mut world = shared.world();
        note(&mut world, session.as_ref(), &call, &answer);
        dated(response(answer), world.clock.now())
    }
}

/// What makes the server cut a connection.
fn cut() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// Answers bear the simulated time, by which a client may find its own clock wrong.
fn dated(mut response: Response<Full<Bytes>>, now: DateTime<Utc>) -> Response<Full<Bytes>> {
    let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = date.parse() {
        response.headers_mut().insert(http::header::DATE, date);
    }
    response
}

#[expect(clippy::disallowed_methods, reason = "a late answer is what was asked for")]
async fn wait(delay: Duration) {
    tokio::time::sleep(delay).await;
}

/// Who calls, and whether they may; and the fault that the call meets.
fn enter(world: &mut World, call: &Call) -> (Option<Session>, Result<Option<Effect>, Refusal>) {
    let Some(session) = world.sessions.get(&call.access_key).cloned() else {
        return (None, Err(Refusal::unknown_key(&call.service)));
    };
    if session.expires <= world.clock.now() {
        return (Some(session), Err(Refusal::expired(&call.service)));
    }
    let now = world.clock.now();
    let quotas = world.quotas.as_mut();
    if quotas.is_some_and(|quotas| !quotas.take(&session.account, call, now)) {
        return (Some(session), Err(Refusal::throttled(&call.service)));
    }
    let struck = fault::strike(&mut world.faults, &session.account, call);
    if let Some(Effect::TimePasses(by)) = struck {
        world.clock.advance(by);
        if session.expires <= world.clock.now() {
            return (Some(session), Err(Refusal::expired(&call.service)));
        }
    }
    if matches!(struck, None | Some(Effect::Delay(_) | Effect::TimePasses(_) | Effect::Cut))
        && let Err(refusal) = permit(world, &session, call)
    {
        return (Some(session), Err(refusal));
    }
    (Some(session), Ok(struck))
}

/// A call outside the role's policy is refused. `GetCallerIdentity` needs nothing.
fn permit(world: &World, session: &Session, call: &Call) -> Result<(), Refusal> {
    let action = call.action();
    let is_free =
        action == "sts:GetCallerIdentity" || (session.is_hub && action == "sts:AssumeRole");
    let refused = if is_free { None } else { services::resources::refused(world, session, call) };
    if let Some(action) = refused {
        return Err(Refusal::denied(
            &call.service,
            format!(
                "User: {} is not authorized to perform: {action} because no identity-based policy allows the {action} action",
                session.arn
            ),
        ));
    }
    // A region that the account has not enabled does not know its keys.
    let is_global = matches!(call.service.as_str(), "organizations" | "iam" | "sts");
    let account = world.accounts.get(&session.account);
    if !is_global && account.is_some_and(|account| !account.regions.contains(&call.region)) {
        return Err(Refusal::unknown_key(&call.service));
    }
    Ok(())
}

fn denied_by_scp(call: &Call, session: Option<&Session>) -> Refusal {
    Refusal::denied(
        &call.service,
        format!(
            "User: {} is not authorized to perform: {} with an explicit deny in a service control policy",
            session.map_or("", |session| &session.arn),
            call.action()
        ),
    )
}

fn note(world: &mut World, session: Option<&Session>, call: &Call, answer: &Answer) {
    let tally = world.tally.entry(call.action()).or_default();
    tally.calls += 1;
    if answer.code == Refusal::throttled(&call.service).code {
        tally.throttled += 1;
    }
    if world.only_counts {
        return;
    }
    let at = world.clock.now();
    world.journal.push(Entry {
        at,
        principal: session.map(|session| session.arn.clone()).unwrap_or_default(),
        account: session.map(|session| session.account.clone()).unwrap_or_default(),
        region: call.region.clone(),
        action: call.action(),
        object: call.object(),
        has_token: call.token().is_some(),
        code: answer.code.clone(),
    });
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    static ANSWERS: AtomicU64 = AtomicU64::new(1);
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    // As AWS does, each answer has an id, by which its support finds the call.
    let number = ANSWERS.fetch_add(1, Ordering::Relaxed);
    if let Ok(id) = format!("00000000-0000-4000-9000-{number:012x}").parse() {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    *response.status_mut() =
        http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::OK);
    for (name, value) in answer.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    if let Ok(content_type) = answer.content_type.parse() {
        response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    }
    response
}
