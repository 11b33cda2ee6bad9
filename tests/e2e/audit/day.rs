//! A day of people whose names contain each other, with grants that overlap and follow each other: what each
//! did is told of the grants whose it was, once, whichever source tells it and whatever becomes of the daemons.
//! What happens is drawn from a seed; an even one has a queue tell of the trail's files.

use std::collections::{BTreeMap, BTreeSet};

use apono_connector_proto::v1::{AuditAmbiguity, AuditEvent, GrantRequest, GrantState};
use aws_sim::{Deed, Door, SignedIn, directory::User};
use chrono::TimeDelta;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{
    NEXT_READING_S,
    trail::{self, QUEUE_URL},
};
use crate::{
    access::{
        ACCOUNT, House, OTHER_ACCOUNT, SET, a_request, ann, cloud, end_in, fast, generated,
        settings, unit, user,
    },
    harness::{Daemon, Database},
};

/// `ann1` is in the names of `ann10` and `ann11`.
const PEOPLE: [usize; 5] = [1, 2, 10, 11, 12];
const ROUNDS: usize = 6;
const BUCKETS: [&str; 2] = [generated::BUCKET, generated::OTHER_BUCKET];

/// What a grant gives: [`SET`] in an account, or a bucket of [`ACCOUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Set(&'static str),
    Bucket(&'static str),
}

#[derive(Clone, Debug)]
struct Given {
    id: String,
    person: usize,
    what: What,
}

/// Whose something must be told to be: the grants, and whether that is certain.
type Whose = (BTreeSet<String>, AuditAmbiguity);

struct Day {
    seed: u64,
    house: House,
    chance: StdRng,
    grants: usize,
    live: Vec<Given>,
    /// Sessions of [`SET`], with whose they are.
    sessions: Vec<(SignedIn, Whose)>,
    /// By the address that each was done from.
    done: BTreeMap<String, Whose>,
}

fn whose(grants: &[&Given]) -> Whose {
    let is_one = grants.len() == 1;
    let certain = AuditAmbiguity::Unspecified;
    let ambiguity = if is_one { certain } else { AuditAmbiguity::SeveralGrants };
    (grants.iter().map(|given| given.id.clone()).collect(), ambiguity)
}

impl Day {
    async fn begin(seed: u64) -> Self {
        let database = Database::create().await;
        let cloud = cloud().await;
        generated::with_buckets(&cloud);
        trail::start(&cloud);
        let mut trail = trail::trail();
        if seed.is_multiple_of(2) {
            trail::notify(&cloud);
            QUEUE_URL.clone_into(&mut trail.queue_url);
        }
        {
            let mut world = cloud.sim.world();
            world.trail.repeats = true;
            let organization = world.organizations.get_mut(&cloud.organization).expect("one");
            organization.directory.users.extend(PEOPLE.iter().filter(|one| **one > 3).map(|one| {
                let name = format!("ann{one}");
                User {
                    id: ann(*one),
                    email: format!("{name}@example.com"),
                    name,
                    ..User::default()
                }
            }));
        }
        let daemon = Daemon::start_with(&cloud, fast(&database));
        let api = daemon.api().await;
        let settings = generated::knowing_buckets(settings(&cloud));
        api.create_and_sync(trail::with_trail(settings, trail)).await;
        Self {
            seed,
            house: House { cloud, database, daemon, api },
            chance: StdRng::seed_from_u64(seed),
            grants: 0,
            live: Vec::new(),
            sessions: Vec::new(),
            done: BTreeMap::new(),
        }
    }

    async fn give(&mut self) {
        self.grants += 1;
        let id = format!("{}-{}", self.seed, self.grants);
        let person = *PEOPLE.choose(&mut self.chance).expect("somebody");
        let choices = [
            What::Set(ACCOUNT),
            What::Set(OTHER_ACCOUNT),
            What::Bucket(BUCKETS[0]),
            What::Bucket(BUCKETS[1]),
        ];
        let what = *choices.choose(&mut self.chance).expect("something");
        let request = match what {
            What::Set(account) => GrantRequest { units: vec![unit(account)], ..a_request(&id) },
            What::Bucket(bucket) => generated::on(&id, person, "READ_ONLY", bucket),
        };
        let recipient = Some(user(&format!("ann{person}@example.com")));
        let end = Some(end_in(12 * 3600));
        self.house.give(GrantRequest { recipient, end, ..request }).await;
        self.live.push(Given { id, person, what });
    }

    async fn take(&mut self) {
        let at = self.chance.random_range(0..self.live.len());
        let given = self.live.swap_remove(at);
        self.house.api.revoke(&given.id).await;
        self.house.api.wait_for_grant(&given.id, GrantState::Ended).await;
    }

    /// Does something as a session, to be told as somebody's.
    fn act(&mut self, session: &SignedIn, deed: Deed<'_>, whose: Whose) {
        let address = format!("10.0.{}.{}", self.done.len() / 250, self.done.len() % 250);
        let mut world = self.house.cloud.sim.world();
        world.trail.lag = TimeDelta::minutes(self.chance.random_range(0..14));
        world.act(session, Deed { address: &address, ..deed });
        drop(world);
        self.done.insert(address, whose);
    }

    fn sign_in(&self, person: usize, account: &str, set: &str) -> SignedIn {
        let (organization, user) = (&self.house.cloud.organization, ann(person));
        let mut world = self.house.cloud.sim.world();
        let session = world.sign_in(Door { organization, user: &user, account, set });
        session.unwrap_or_else(|| panic!("seed {}: {user} has no {set}", self.seed))
    }

    /// What the live grants let somebody do, and what they do with sessions from before.
    fn use_what_is_live(&mut self) {
        for given in self.live.clone() {
            let others = self.live.clone();
            let others = others.iter().filter(|one| one.person == given.person);
            match given.what {
                What::Set(account) => {
                    let same: Vec<_> = others.filter(|one| one.what == given.what).collect();
                    let session = self.sign_in(given.person, account, SET);
                    self.sessions.push((session, whose(&same)));
                }
                What::Bucket(resource) => {
                    let buckets: Vec<_> =
                        others.filter(|one| matches!(one.what, What::Bucket(_))).collect();
                    let user = ann(given.person);
                    let access = self.house.access_of(&user);
                    let own = format!("{ACCOUNT} apono-");
                    let mut sets = access.iter().filter(|one| one.starts_with(&own));
                    let set = sets.next().and_then(|one| one.split(' ').nth(1)).expect("a set");
                    let session = self.sign_in(given.person, ACCOUNT, set);
                    let same: Vec<_> =
                        buckets.iter().copied().filter(|one| one.what == given.what).collect();
                    let deed = Deed { resource, ..Deed::default() };
                    let look = Deed { action: "s3:GetBucketLocation", ..deed };
                    self.act(&session, look, whose(&same));
                    // A data event, which the trail alone has.
                    let file = format!("{resource}/file");
                    let read = Deed { action: "s3:GetObject", resource: &file, ..deed };
                    self.act(&session, read, whose(&same));
                    let denied = Deed { action: "s3:PutBucketPolicy", ..deed };
                    self.act(&session, denied, whose(&buckets));
                }
            }
        }
        for (session, whose) in self.sessions.clone() {
            if self.chance.random_bool(0.5) {
                let region = ["eu-west-1", "us-east-1"][self.chance.random_range(0..2)];
                let deed = Deed { action: "ec2:DescribeInstances", region, ..Deed::default() };
                self.act(&session, deed, whose);
            }
        }
    }

    async fn round(&mut self, number: usize) {
        for _ in 0..self.chance.random_range(1..4) {
            self.give().await;
        }
        if self.live.len() > 3 {
            self.take().await;
        }
        self.house.pass(60).await;
        self.use_what_is_live();
        self.house.pass(NEXT_READING_S).await;
        if number.is_multiple_of(2) {
            self.house.restart().await;
        }
    }

    /// What is told of all grants, by the address that it was done from.
    async fn told(&self) -> BTreeMap<String, Whose> {
        let mut told = BTreeMap::new();
        for number in 1..=self.grants {
            let grant = format!("{}-{number}", self.seed);
            for event in self.house.api.events_of(&grant).await {
                let ambiguity = event.ambiguity();
                let AuditEvent { source_address, grant_ids, .. } = event;
                told.insert(source_address, (grant_ids.into_iter().collect(), ambiguity));
            }
        }
        told
    }
}

#[tokio::test]
async fn of_a_day_everything_is_told_of_whose_it_was_and_nothing_twice() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut day = Day::begin(seed).await;
    let second = Daemon::start_with(&day.house.cloud, fast(&day.house.database));
    for number in 0..ROUNDS {
        day.round(number).await;
    }
    // All is delivered, and what daemons that were killed had leased is free.
    day.house.pass(15 * 60).await;
    let expected: usize = day.done.values().map(|(grants, _)| grants.len()).sum();
    crate::harness::wait_for(&format!("what was done (seed {seed})"), async || {
        let mut calls = 0;
        for number in 1..=day.grants {
            calls += day.house.api.audited(&format!("{seed}-{number}")).await.calls;
        }
        (calls >= i64::try_from(expected).expect("a count")).then_some(())
    })
    .await;
    let told = day.told().await;
    for (address, whose) in &day.done {
        assert_eq!(told.get(address), Some(whose), "seed {seed}: {address}");
    }
    assert_eq!(told.len(), day.done.len(), "seed {seed}");
    drop(second);
}
