//! Traps: the world stops at one call, so that a test can do something to the caller (kill it,
//! stop it) at exactly that point, and then says what becomes of the call.
//!
//! A call that is caught is held without the world's lock, its connection open and without an
//! answer; everything else goes on. It is held in a task of its own: a caller that dies
//! meanwhile does not undo what the test wants done, as AWS may well carry out a call
//! whose caller is gone.

use tokio::sync::oneshot;

use crate::{fault, request::Call, world::World};

/// Where a trap strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Arrived, and not applied.
    Arrived,
    /// Applied (and in the journal), and not answered.
    Applied,
}

/// What becomes of a call that was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It goes on: it is applied, if it was not, and answered.
    Go,
    /// It is forgotten: the connection is cut, and what was not applied never is.
    Drop,
}

/// A trap that waits for its call.
#[derive(Debug)]
pub struct Trap {
    /// IAM action: `sso:CreateAccountAssignment`; `*` at its end stands for anything.
    pub action: String,
    /// Which of the matching calls that are yet to come it catches, from 1.
    pub nth: usize,
    /// Where it strikes.
    pub moment: Moment,
    told: oneshot::Sender<Trapped>,
}

/// A call that a trap holds. Dropped, the call is forgotten as by [`Trapped::forget`].
#[derive(Debug)]
#[must_use = "a call that is not let go is forgotten"]
pub struct Trapped {
    /// IAM action.
    pub action: String,
    /// What it changes, as the journal has it ([`crate::Entry::object`]).
    pub object: String,
    release: oneshot::Sender<Release>,
}

impl Trapped {
    /// Lets it go on, whether its caller still waits or not.
    pub fn let_go(self) {
        self.release(Release::Go);
    }

    /// Cuts its connection; if it was not applied, it never is.
    pub fn forget(self) {
        self.release(Release::Drop);
    }

    /// Says what becomes of it.
    pub fn release(self, release: Release) {
        // Where nobody holds it any more, the simulator has ended.
        let _ = self.release.send(release);
    }
}

impl World {
    /// Sets a trap for one call, the `nth` (from 1) of an action that arrives from now on, among
    /// all that reach the service or are refused: not those that a fault loses before.
    /// What it returns yields the call once it is held. If that is dropped, the trap holds
    /// nothing. A call is caught by one trap, the eldest that is due; another takes the next.
    #[must_use = "a trap that nobody watches holds nothing"]
    pub fn set_trap(
        &mut self,
        action: &str,
        nth: usize,
        moment: Moment,
    ) -> oneshot::Receiver<Trapped> {
        let (told, caught) = oneshot::channel();
        self.traps.push(Trap { action: action.to_owned(), nth, moment, told });
        caught
    }
}

/// A call that is to be held.
#[derive(Debug)]
pub(crate) struct Caught {
    moment: Moment,
    action: String,
    object: String,
    told: oneshot::Sender<Trapped>,
}

/// Counts a call, and tells whether a trap catches it; that trap is used up.
pub(crate) fn spring(traps: &mut Vec<Trap>, call: &Call) -> Option<Caught> {
    if traps.is_empty() {
        return None;
    }
    let action = call.action();
    for trap in traps.iter_mut().filter(|trap| fault::names(&trap.action, &action)) {
        trap.nth = trap.nth.saturating_sub(1);
    }
    let due = |trap: &Trap| trap.nth == 0 && fault::names(&trap.action, &action);
    let at = traps.iter().position(due)?;
    let Trap { moment, told, .. } = traps.remove(at);
    Some(Caught { moment, action, object: call.object(), told })
}

/// Holds a call that is to be held at this moment, until it is released.
pub(crate) async fn hold(caught: &mut Option<Caught>, moment: Moment) -> Release {
    let Some(caught) = caught.take_if(|caught| caught.moment == moment) else {
        return Release::Go;
    };
    let (release, released) = oneshot::channel();
    let trapped = Trapped { action: caught.action, object: caught.object, release };
    if caught.told.send(trapped).is_err() {
        return Release::Go;
    }
    released.await.unwrap_or(Release::Drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        task::JoinHandle,
    };

    use super::*;
    use crate::{Effect, Fault, Sim, identity::Session, seed, template::Role};

    const ORGANIZATION: &str = "o-test123456";
    const MANAGEMENT: &str = "111111111111";
    const MEMBER: &str = "222222222222";
    const CREATE: &str = "sso:CreateAccountAssignment";

    /// A simulator, and the key of somebody who may assign.
    async fn start() -> (Sim, String) {
        let sim = Sim::start().await.expect("a simulator");
        let key = admit(&mut sim.world());
        (sim, key)
    }

    fn admit(world: &mut World) -> String {
        let root = world.add_organization(ORGANIZATION, "aws", MANAGEMENT);
        world.add_account(ORGANIZATION, &root, MEMBER, "payments");
        seed::enroll(world, ORGANIZATION, "eu-west-1", &[], 2);
        let allow = json!({ "Effect": "Allow", "Action": "sso:*", "Resource": "*" });
        let policies = vec![json!({ "Statement": [allow] })];
        let role = Role { name: "access".to_owned(), policies, ..Role::default() };
        world.account(MANAGEMENT).roles.insert(role.name.clone(), role);
        let session = Session {
            arn: format!("arn:aws:sts::{MANAGEMENT}:assumed-role/access/test"),
            role_arn: format!("arn:aws:iam::{MANAGEMENT}:role/access"),
            account: MANAGEMENT.to_owned(),
            expires: world.clock.now() + TimeDelta::hours(1),
            tags: Vec::new(),
            source_identity: String::new(),
            is_hub: false,
        };
        world.open_session(session).access_key
    }

    /// Asks for an assignment. It ends with the answer; empty: the connection was cut.
    fn ask(sim: &Sim, key: &str) -> JoinHandle<String> {
        let address = sim.url().replace("http://", "");
        let body = json!({
            "InstanceArn": "arn:aws:sso:::instance/ssoins-test123456",
            "PermissionSetArn":
                "arn:aws:sso:::permissionSet/ssoins-test123456/ps-0000000000000001",
            "PrincipalType": "USER",
            "PrincipalId": "9067642ac7-00000001",
            "TargetType": "AWS_ACCOUNT",
            "TargetId": MEMBER,
        })
        .to_string();
        let scope = format!("{key}/20260101/eu-west-1/sso/aws4_request");
        let head = [
            "POST / HTTP/1.1".to_owned(),
            "host: localhost".to_owned(),
            "connection: close".to_owned(),
            format!("authorization: AWS4-HMAC-SHA256 Credential={scope}, Signature=x"),
            "x-amz-target: SWBExternalService.CreateAccountAssignment".to_owned(),
            format!("content-length: {}", body.len()),
        ];
        let request = format!("{}\r\n\r\n{body}", head.join("\r\n"));
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(request.as_bytes()).await.expect("a request");
            let mut answer = String::new();
            // A connection that is cut may read as an error.
            let _ = stream.read_to_string(&mut answer).await;
            answer
        })
    }

    /// How many assignments were accepted.
    fn accepted(sim: &Sim) -> usize {
        sim.world().organizations[ORGANIZATION].directory.operations.len()
    }

    #[tokio::test]
    async fn a_call_that_is_caught_on_arrival_is_applied_only_if_it_is_let_go() {
        let (sim, key) = start().await;
        let first = sim.world().set_trap(CREATE, 1, Moment::Arrived);
        let second = sim.world().set_trap("sso:*", 2, Moment::Arrived);

        let asked = ask(&sim, &key);
        let trapped = first.await.expect("a call");
        assert_eq!(trapped.action, CREATE);
        assert_eq!(trapped.object, "222222222222/ps-0000000000000001/9067642ac7-00000001");
        trapped.forget();
        assert_eq!(asked.await.expect("an end"), "");
        assert_eq!((accepted(&sim), sim.world().journal.len()), (0, 0));

        let asked = ask(&sim, &key);
        let trapped = second.await.expect("a call");
        assert_eq!(accepted(&sim), 0);
        trapped.let_go();
        let answer = asked.await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!((accepted(&sim), sim.world().journal.len()), (1, 1));
        assert!(sim.world().traps.is_empty());
    }

    #[tokio::test]
    async fn a_call_that_is_caught_when_applied_stays_applied() {
        let (sim, key) = start().await;
        let caught = sim.world().set_trap(CREATE, 1, Moment::Applied);
        let asked = ask(&sim, &key);
        let trapped = caught.await.expect("a call");
        assert_eq!((accepted(&sim), sim.world().journal.len()), (1, 1));
        drop(trapped);
        assert_eq!(asked.await.expect("an end"), "");
        assert_eq!(accepted(&sim), 1);
    }

    #[tokio::test]
    async fn a_call_that_is_let_go_is_applied_though_its_caller_is_gone() {
        let (sim, key) = start().await;
        let caught = sim.world().set_trap(CREATE, 1, Moment::Arrived);
        let asked = ask(&sim, &key);
        let trapped = caught.await.expect("a call");
        asked.abort();
        assert!(asked.await.is_err_and(|error| error.is_cancelled()));
        // The server sees that the connection is gone.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        trapped.let_go();
        let applied = async {
            while accepted(&sim) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), applied).await.expect("it is applied");
    }

    #[tokio::test]
    async fn a_trap_that_nobody_watches_holds_nothing() {
        let (sim, key) = start().await;
        drop(sim.world().set_trap(CREATE, 1, Moment::Arrived));
        let answer = ask(&sim, &key).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn a_call_whose_answer_is_cut_was_carried_out() {
        let (sim, key) = start().await;
        sim.world().faults.push(Fault::new(Effect::Cut).on("sso:Create*").times(1));
        assert_eq!(ask(&sim, &key).await.expect("an end"), "");
        assert_eq!((accepted(&sim), sim.world().journal.len()), (1, 1));
    }
}
