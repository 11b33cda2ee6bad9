//! The page `docs/permissions.md`: which calls each permission allows, and which it does not, as the
//! simulator's evaluator judges the policy that the connector writes.
//!
//! Every action of AWS's service authorization reference is tried, so a permission that lets
//! through more than it says shows in the page. Each call that is allowed is tried again where it must
//! not be: by another person, on another resource, on one of the same name elsewhere, from its second on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use aws_sim::{
    Context, PolicyName, Question, World,
    assignment::{Assignment, Principal},
    directory::PermissionSet,
    policy, reference, seed,
    world::Bucket,
};
use chrono::{DateTime, TimeDelta};
use connector::{
    catalog::{COLLECTORS, Level},
    model::{
        policy_document::{self, Share},
        statement::{Condition, Statement},
    },
    store::resources::Stored,
};
use serde_json::{Value, json};

const ACCOUNT: &str = "111122223333";
const ELSEWHERE: &str = "444455556666";
const ORGANIZATION: &str = "o-page123456";
/// Whoever has the permission, and somebody else. Both have a permission set of their own.
const PEOPLE: [(&str, &str); 2] =
    [("9067642ac7-00000001", "ps-ann"), ("9067642ac7-00000002", "ps-bob")];

/// A permission, and what it says of a resource.
#[derive(Debug)]
pub(crate) struct Sample {
    /// For failures.
    pub name: String,
    pub level: Level,
    pub statements: Vec<Statement>,
    kind: &'static str,
    title: &'static str,
    form: String,
    description: &'static str,
    resource: String,
}

/// One resource of each type that has permissions, so that they say all that they can.
fn a_resource(kind: &str) -> Stored {
    let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd";
    let rds = json!({ "engine": "postgres", "iam_authentication": true, "resource_id": "db-A1" });
    let (arn, attributes): (&str, Value) = match kind {
        "aws-dynamodb-table" => {
            ("dynamodb:eu-west-1:111122223333:table/t", json!({ "kms_key": key }))
        }
        "aws-ec2-instance" => {
            ("ec2:eu-west-1:111122223333:instance/i-1", json!({ "ssm_state": "managed" }))
        }
        "aws-iam-role" => ("iam::111122223333:role/r", json!({ "kind": "customer" })),
        "aws-lambda-function" => {
            ("lambda:eu-west-1:111122223333:function:f", json!({ "kms_key": key }))
        }
        "aws-rds-cluster" => ("rds:eu-west-1:111122223333:cluster:c", rds),
        "aws-rds-instance" => ("rds:eu-west-1:111122223333:db:d", rds),
        "aws-s3-bucket" => ("s3:::b", json!({ "kms_key": key })),
        "aws-secretsmanager-secret" => {
            ("secretsmanager:eu-west-1:111122223333:secret:a/b-AbCdEf", json!({ "kms_key": key }))
        }
        "aws-sns-topic" => ("sns:eu-west-1:111122223333:t", json!({ "kms_key": "alias/a" })),
        "aws-sqs-queue" => ("sqs:eu-west-1:111122223333:q", json!({ "kms_key": "1234abcd" })),
        _ => panic!("{kind} has permissions; give a resource for this page"),
    };
    Stored {
        integration_id: uuid::Uuid::nil(),
        arn: format!("arn:aws:{arn}"),
        kind: kind.to_owned(),
        account_id: ACCOUNT.to_owned(),
        region: "eu-west-1".to_owned(),
        name: "one".to_owned(),
        tags: json!({}),
        attributes,
        unread: json!({}),
        first_seen_at: DateTime::UNIX_EPOCH,
        changed_at: DateTime::UNIX_EPOCH,
        gone_at: None,
        revision: 1,
        missing_reads: 0,
        fresh_at: None,
        stale_reason: None,
    }
}

/// Each permission of each type.
pub(crate) fn samples() -> Vec<Sample> {
    let kinds = COLLECTORS.iter().flat_map(|collector| collector.types());
    let of_kind = kinds.flat_map(|kind| {
        kind.permissions.iter().map(|permission| {
            let (on, form) = (a_resource(kind.id), permission.form());
            let asked = form.replace("<database user>", "app_ro");
            let statements = permission.statements(&on, &asked).expect("statements");
            Sample {
                name: format!("{} of {}", permission.id, kind.id),
                level: permission.level,
                statements,
                kind: kind.id,
                title: kind.display_name,
                form,
                description: permission.description,
                resource: on.arn,
            }
        })
    });
    of_kind.collect()
}

/// The page.
///
/// # Panics
///
/// When a call is allowed to somebody else, on something else, elsewhere, or later.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# What permissions allow, call by call\n\n`make catalogue` writes this page, and a test holds it: the policy that the connector writes for one resource is put before the evaluator of `aws-sim`, with every action of\nAWS's service authorization reference. Not on the page, since it is never allowed: each of these calls by another person, on another resource, on one of the same name in another\naccount, or from the second of the end on.\n",
    );
    let mut before = "";
    for sample in samples() {
        if sample.kind != before {
            let _ = write!(
                page,
                "\n## {}: `{}`\n\nOn `{}`.\n",
                sample.title, sample.kind, sample.resource
            );
            before = sample.kind;
        }
        let level = match sample.level {
            Level::Read => "All of it lists or reads",
            Level::Write => "Some of it writes; none of it changes who has access, or tags",
            Level::Owner => "Some of it changes who has access, or tags",
        };
        let Sample { form, description, .. } = &sample;
        let _ = write!(page, "\n### `{form}`\n\n{description}. {level}.\n");
        page.push_str(&Trial::of(&sample).table());
    }
    page
}

/// What a call is about: an ARN, and the condition keys that its request has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    arn: String,
    keys: Vec<(String, String)>,
}

impl Place {
    fn context(&self) -> Context {
        let keys = self.keys.iter();
        keys.fold(Context::default(), |all, (key, value)| all.with(key, value))
    }
}

/// A permission before the evaluator.
struct Trial<'a> {
    sample: &'a Sample,
    world: World,
    document: Value,
    user_id: String,
}

impl<'a> Trial<'a> {
    fn of(sample: &'a Sample) -> Self {
        let (mut world, user_id) = a_world();
        let share = Share::new(&["page"], sample.statements.clone());
        let until = world.clock.now() + TimeDelta::hours(1);
        let document = policy_document::document([(&share, until)]);
        world.put_policy(ACCOUNT, "/apono/", PEOPLE[0].1, &document.to_string());
        Self { sample, world, document, user_id }
    }

    /// Every place that a statement is about.
    fn places(&self) -> BTreeSet<Place> {
        let of_user = |text: &str| {
            let text = text.replace("${aws:userid}", &self.user_id);
            text.replace("${identitystore:UserId}", PEOPLE[0].0)
        };
        let of = |statement: &Statement| -> Vec<Place> {
            let conditions = statement.conditions.iter();
            let keys = conditions.filter(|one| one.key != "aws:ResourceAccount");
            let met = |one: &Condition| of_user(&one.values[0]).replace('*', "x");
            let keys: Vec<_> = keys.map(|one| (one.key.clone(), met(one))).collect();
            let arns = statement.resources.iter().map(|arn| of_user(arn).replace('*', "x"));
            arns.map(|arn| Place { arn: in_account(&arn), keys: keys.clone() }).collect()
        };
        self.sample.statements.iter().flat_map(of).collect()
    }

    /// The actions that the policy allows in a place.
    fn allowed(&self, place: &Place) -> BTreeSet<&'static str> {
        let now = self.world.clock.now().to_rfc3339();
        let context = Context::default()
            .with("aws:CurrentTime", now)
            .with("aws:ResourceAccount", ACCOUNT)
            .with("aws:userid", &self.user_id)
            .with("identitystore:UserId", PEOPLE[0].0)
            .and(&place.context());
        let documents = std::slice::from_ref(&self.document);
        let allows = |action: &str| policy::allows(documents, action, Some(&place.arn), &context);
        reference::actions().map(|(action, _)| action).filter(|action| allows(action)).collect()
    }

    fn may(&mut self, person: usize, action: &str, place: &Place) -> bool {
        self.world.may(&Question {
            organization: ORGANIZATION,
            user: PEOPLE[person].0,
            account: ACCOUNT,
            action,
            resource: &place.arn,
            context: place.context(),
        })
    }

    /// The same place on another resource, or of another person's, and elsewhere. A document of AWS is
    /// everybody's.
    fn beside(&self, place: &Place) -> Vec<Place> {
        let mut beside = Vec::new();
        let with = |arn: String| Place { arn, ..place.clone() };
        let (resource, other) = (&self.sample.resource, "AROAOTHER:bob");
        let is_own = |text: &str| text.contains(&self.user_id);
        if let Some(below) = place.arn.strip_prefix(resource.as_str()) {
            beside.push(with(format!("{resource}-other{below}")));
        } else if is_own(&place.arn) || place.keys.iter().any(|(_, value)| is_own(value)) {
            let of_other = |text: &str| text.replace(&self.user_id, other);
            let keys = place.keys.iter().map(|(key, value)| (key.clone(), of_other(value)));
            beside.push(Place { arn: of_other(&place.arn), keys: keys.collect() });
        } else {
            // Another key has other aliases, and is asked for something else.
            let mut another = with(format!("{}-other", place.arn));
            let told = another.keys.iter_mut().filter(|(key, _)| {
                key == "kms:ResourceAliases" || key.starts_with("kms:EncryptionContext:")
            });
            told.for_each(|(_, value)| value.insert_str(0, "other-"));
            beside.push(another);
        }
        if place.arn.contains(ACCOUNT) {
            beside.push(with(place.arn.replace(ACCOUNT, ELSEWHERE)));
        } else if place.arn.contains(":s3:::") {
            let mut elsewhere = place.clone();
            elsewhere.keys.push(("aws:ResourceAccount".to_owned(), ELSEWHERE.to_owned()));
            beside.push(elsewhere);
        }
        beside
    }

    /// The calls by place, and what is denied on the resource itself.
    fn table(mut self) -> String {
        let mut rows = BTreeMap::new();
        for place in self.places() {
            let actions = self.allowed(&place);
            self.is_denied_otherwise(&place, &actions);
            rows.insert(place, actions);
        }
        let mut table = String::from("\n| allowed | on | where the request has |\n|---|---|---|\n");
        for (place, actions) in &rows {
            let keys = place.keys.iter().map(|(key, value)| format!("`{key}` = `{value}`"));
            let keys: Vec<String> = keys.collect();
            let _ =
                writeln!(table, "| {} | `{}` | {} |", listed(actions), place.arn, keys.join(", "));
        }
        let all: BTreeSet<&str> = rows.values().flatten().copied().collect();
        let services: BTreeSet<&str> = all.iter().filter_map(|one| one.split(':').next()).collect();
        let mut denied = reference::actions()
            .filter(|(action, _)| services.contains(action.split(':').next().unwrap_or_default()))
            .filter(|(action, _)| !all.contains(action))
            .collect::<Vec<_>>();
        denied.sort_unstable();
        let leaves = |level: &str| matches!(level, "Permissions management" | "Tagging");
        let lasting = denied.iter().filter(|(_, level)| leaves(level)).map(|(action, _)| *action);
        let lasting: BTreeSet<&str> = lasting.collect();
        let others = denied.len() - lasting.len();
        let services: Vec<String> = services.iter().map(|one| format!("`{one}`")).collect();
        let _ = writeln!(
            table,
            "\nDenied: {}, and {others} more of {}, and all of every other service.",
            if lasting.is_empty() {
                "nothing that changes access or tags".to_owned()
            } else {
                listed(&lasting)
            },
            services.join(", ")
        );
        let table = table.replace(&self.user_id, "<id of the session>");
        table.replace(PEOPLE[0].0, "<id of the person>")
    }

    fn is_denied_otherwise(&mut self, place: &Place, actions: &BTreeSet<&'static str>) {
        let name = self.sample.name.clone();
        for action in actions {
            assert!(self.may(0, action, place), "{name}: {action} on {}", place.arn);
            assert!(!self.may(1, action, place), "{name}: {action} by another");
            for other in self.beside(place) {
                assert!(!self.may(0, action, &other), "{name}: {action} on {other:?}");
            }
            self.world.clock.advance(TimeDelta::hours(1));
            assert!(!self.may(0, action, place), "{name}: {action} after its end");
            self.world.clock.advance(TimeDelta::hours(-1));
        }
        let otherwise = |value: &str| {
            if value == "true" { "false".to_owned() } else { format!("other-{value}") }
        };
        for at in 0..place.keys.len() {
            let mut other = place.clone();
            other.keys[at].1 = otherwise(&other.keys[at].1);
            let bare = Place { keys: Vec::new(), ..place.clone() };
            let (with_other, without) = (self.allowed(&other), self.allowed(&bare));
            let more: Vec<_> = with_other.difference(&without).collect();
            assert!(more.is_empty(), "{name}: {more:?} whatever {:?} is", place.keys[at]);
        }
    }
}

/// Two accounts, with a bucket in the first, and the permission sets of two people there; the id of
/// the first one's session.
fn a_world() -> (World, String) {
    let mut world = World::default();
    let root = world.add_organization(ORGANIZATION, "aws", "999988887777");
    for account in [ACCOUNT, ELSEWHERE] {
        world.add_account(ORGANIZATION, &root, account, "account");
    }
    let bucket = |name: &str| Bucket { name: name.to_owned(), ..Bucket::default() };
    world.account(ACCOUNT).buckets.extend(["b", "b-other"].map(bucket));
    seed::enroll(&mut world, ORGANIZATION, "eu-west-1", &[], 3);
    for (user, set) in PEOPLE {
        let directory = &mut world.organizations.get_mut(ORGANIZATION).expect("one").directory;
        directory.permission_sets.push(PermissionSet {
            id: set.to_owned(),
            name: set.to_owned(),
            customer_managed: vec![PolicyName::new("/apono/", set)],
            ..PermissionSet::default()
        });
        world.put_policy(ACCOUNT, "/apono/", set, &policy_document::document([]).to_string());
        world.assign(
            ORGANIZATION,
            Assignment {
                account: ACCOUNT.to_owned(),
                permission_set: set.to_owned(),
                principal: Principal::User(user.to_owned()),
            },
        );
    }
    let directory = &world.organizations[ORGANIZATION].directory;
    let role = &directory.provisioned(ACCOUNT, PEOPLE[0].1).expect("a role").role;
    let user_id = format!("{}:ann1", aws_sim::evaluator::role_id(role));
    (world, user_id)
}

/// An ARN in which the account stands where the statement leaves it open.
fn in_account(arn: &str) -> String {
    let mut parts: Vec<&str> = arn.splitn(6, ':').collect();
    for (at, value) in [(3, "eu-west-1"), (4, ACCOUNT)] {
        if parts[at] == "x" {
            parts[at] = value;
        }
    }
    parts.join(":")
}

fn listed(actions: &BTreeSet<&str>) -> String {
    let actions: Vec<String> = actions.iter().map(|action| format!("`{action}`")).collect();
    actions.join(", ")
}
