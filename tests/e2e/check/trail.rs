//! Organization trails that cannot be read.

use std::fmt::Write as _;

use aws_sim::{delivery::Delivery, world::Bucket};
use chrono::TimeDelta;
use serde_json::json;

use super::{MEMBERS, Setup, broken};

const KEY: &str = "arn:aws:kms:eu-west-1:333333333333:key/0000-trail";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:111111111111:trail";

impl Setup {
    /// Wants an organization trail, whose bucket lies in a member account and lets the role of the management
    /// account in; spoils the trail, and the bucket once there are files in it.
    fn trail(&mut self, spoil: impl FnOnce(&mut Delivery), spoil_bucket: impl FnOnce(&mut Bucket)) {
        let _ = write!(
            self.form,
            "audit_enabled = true\n[trail]\nbucket = \"trail-of-test\"\nprefix = \"org\"\nregion = \"eu-west-1\"\nkms_key_arn = \"{KEY}\"\nqueue_url = \"https://sqs.eu-west-1.amazonaws.com/111111111111/trail\"\n"
        );
        let deployment = self.cloud.deployment_with(&[
            ("AccountAssignments", "Enabled"),
            ("GroupMemberships", "Enabled"),
            ("SessionAudit", "Enabled"),
            ("TrailBucketArn", "arn:aws:s3:::trail-of-test"),
            ("TrailKmsKeyArn", KEY),
            ("TrailQueueArn", QUEUE),
        ]);
        let mut delivery = Delivery {
            organization: self.cloud.organization.clone(),
            account: MEMBERS[1].to_owned(),
            bucket: "trail-of-test".to_owned(),
            region: "eu-west-1".to_owned(),
            prefix: "org".to_owned(),
            is_of_organization: true,
            has_data_events: false,
            kms_key: KEY.to_owned(),
            stalled: TimeDelta::zero(),
        };
        spoil(&mut delivery);
        let mut world = self.cloud.sim.world();
        world.deploy(&self.cloud.organization, &deployment);
        world.queues.insert(QUEUE.to_owned(), Vec::new());
        let bucket = delivery.bucket.clone();
        world.deliver(delivery);
        for account in [self.cloud.management.as_str(), MEMBERS[0]] {
            world.log(account, "eu-west-1");
        }
        let mut buckets = world.account(MEMBERS[1]).buckets.iter_mut();
        let bucket = buckets.find(|one| one.name == bucket).expect("a bucket");
        bucket.readers.insert(self.cloud.management_role_arn());
        bucket.notifies.push(QUEUE.to_owned());
        spoil_bucket(bucket);
    }
}

broken! {
    a_trail_whose_bucket_is_not_there:
        async |s| s.trail(|t| "nowhere".clone_into(&mut t.bucket), |_| {}),
        0 "TRAIL_BUCKET", "there is no bucket trail-of-test", "Correct trail.bucket";
    a_trail_whose_bucket_may_not_be_read:
        async |s| s.trail(|_| {}, |b| b.readers.clear()),
        0 "TRAIL_BUCKET", "may not list the bucket trail-of-test", "\"Action\":[\"s3:GetObject\",\"s3:ListBucket\"";
    a_trail_in_another_region:
        async |s| s.trail(|t| "us-east-1".clone_into(&mut t.region), |_| {}),
        0 "TRAIL_BUCKET", "is not in eu-west-1", "Correct trail.region";
    a_trail_below_another_prefix:
        async |s| s.trail(|t| "other".clone_into(&mut t.prefix), |_| {}),
        0 "TRAIL_BUCKET", "nothing is in trail-of-test below org/AWSLogs/", "Correct trail.prefix";
    a_trail_of_one_account_alone:
        async |s| s.trail(|t| t.is_of_organization = false, |_| {}),
        0 "TRAIL_BUCKET", "is not that of o-test123456: org/AWSLogs/ holds 111111111111", "--is-organization-trail";
    a_trail_without_the_organizations_accounts:
        async |s| s.trail(|_| {}, |b| b.objects.retain(|key, _| key.contains("/111111111111/"))),
        0 "TRAIL_ORGANIZATION", "has log files of none of the 2 member accounts", "--is-organization-trail";
    a_trail_that_has_stopped:
        async |s| s.trail(|_| {}, |b| {
            let old = std::mem::take(&mut b.objects).into_iter();
            let names = old.map(|(key, o)| (key.replace("/eu-west-1/", "/eu-west-1/old/"), o));
            b.objects = names.collect();
        }),
        0 "TRAIL_FILE", "no log file was delivered to trail-of-test since yesterday", "get-trail-status";
    a_trail_with_another_key:
        async |s| s.trail(|t| t.kms_key = KEY.replace("-trail", "-other"), |_| {}),
        0 "TRAIL_FILE", "may not decrypt", "parameter TrailKmsKeyArn";
    a_trail_whose_key_is_not_the_one_that_is_named:
        async |s| s.trail(|t| t.kms_key.clear(), |_| {}),
        0 "TRAIL_FILE", "is encrypted by no key of KMS, not by trail.kms_key_arn", "Correct trail.kms_key_arn";
    a_trail_with_something_else_in_it:
        async |s| s.trail(|_| {}, |b| b.objects.values_mut().for_each(|o| o.body.truncate(20))),
        0 "TRAIL_FILE", "cannot be read to its end", "something else writes into the trail's bucket";
    a_queue_of_another_bucket:
        async |s| s.trail(|_| {}, |b| b.notifies = vec!["arn:aws:sqs:eu-west-1:111111111111:other".to_owned()]),
        0 "TRAIL_QUEUE", "notifies arn:aws:sqs:eu-west-1:111111111111:other, not arn:aws:sqs:eu-west-1:111111111111:trail", "correct trail.queue_url";
    a_queue_that_tells_of_another_bucket:
        async |s| {
            s.trail(|_| {}, |_| {});
            let s3 = json!({ "bucket": { "name": "billing" }, "object": { "key": "a" } });
            s.cloud.sim.world().send(QUEUE, json!({ "Records": [{ "s3": s3 }] }).to_string());
        },
        0 "TRAIL_QUEUE", "tells of the bucket billing, not of trail-of-test", "set trail.queue_url";
    a_queue_that_is_not_there:
        async |s| {
            s.trail(|_| {}, |_| {});
            s.cloud.sim.world().queues.clear();
        },
        0 "TRAIL_QUEUE", "there is no queue https://sqs.eu-west-1", "Correct trail.queue_url";
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_trail_is_well_step_by_step() {
    let mut setup = Setup::good().await;
    setup.trail(|_| {}, |_| {});
    let (exit, steps) = setup.run();
    let told =
        steps.iter().filter(|step| step["code"].as_str().is_some_and(|c| c.starts_with("TRAIL_")));
    let told: Vec<&str> = told.filter_map(|step| step["finding"].as_str()).collect();
    let [bucket, organization, file, queue] = told.as_slice() else { panic!("{told:#?}") };
    assert!(bucket.ends_with("lists trail-of-test: log files of 2 accounts"), "{bucket}");
    assert_eq!(*organization, "it has log files of 1 of 2 member accounts that are read");
    assert!(file.ends_with("reads a log file of 1 records"), "{file}");
    assert!(queue.starts_with("trail-of-test notifies trail, which"), "{queue}");
    assert!(steps.iter().all(|step| step["outcome"] == "passed"), "{steps:#?}");
    assert_eq!(exit, 0);
}
