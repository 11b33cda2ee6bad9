//! What it takes to read an organization trail: rights on a bucket, a key and a queue, which whoever deploys the
//! template names.

use crate::{
    access::mechanisms::{On, Right, To},
    audit::{BUCKET_IAM_ACTIONS, FILE_IAM_ACTIONS, KEY_IAM_ACTIONS, QUEUE_IAM_ACTIONS},
};

use super::policy::{self, Statement};

/// Something that a parameter of the template names by its ARN, and what may be done with it.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The parameter.
    pub title: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// What its ARN begins with behind the partition, and holds: a pattern.
    pub pattern: &'static str,
    /// What it takes.
    pub rights: &'static [Right],
}

const fn right(
    name: &'static str,
    actions: &'static [&'static str],
    on: &'static [&'static str],
) -> Right {
    Right { name, actions, on: On::Only(on), when: &[], to: To::Look }
}

impl Named {
    /// The statements that allow it.
    #[must_use]
    pub fn statements(&self, arn: &str) -> Vec<Statement> {
        let mark = format!("${{{}}}", self.title);
        let rights = self.rights.iter().filter_map(|right| {
            let On::Only(patterns) = right.on else { return None };
            let on = patterns.iter().map(|pattern| pattern.replace(&mark, arn)).collect();
            Some(Statement {
                sid: format!("{}{}", self.title, right.name),
                actions: right.actions.iter().copied().collect(),
                on: policy::On::Only(on),
                when: Vec::new(),
            })
        });
        rights.collect()
    }
}

/// All that can be named.
pub const NAMED: &[Named] = &[
    Named {
        title: "TrailBucketArn",
        description: "ARN of the bucket of an organization trail, to be read for session audit",
        pattern: "s3:::[^/*]+",
        rights: &[
            right("List", BUCKET_IAM_ACTIONS, &["${TrailBucketArn}"]),
            right("Read", FILE_IAM_ACTIONS, &["${TrailBucketArn}/*"]),
        ],
    },
    Named {
        title: "TrailKmsKeyArn",
        description: "ARN of the KMS key that encrypts the files of the trail, if one does",
        pattern: "kms:[a-z0-9-]+:[0-9]{12}:key/.+",
        rights: &[right("Decrypt", KEY_IAM_ACTIONS, &["${TrailKmsKeyArn}"])],
    },
    Named {
        title: "TrailQueueArn",
        description: "ARN of the SQS queue that is told of new files of the trail, if one is",
        pattern: "sqs:[a-z0-9-]+:[0-9]{12}:.+",
        rights: &[right("Take", QUEUE_IAM_ACTIONS, &["${TrailQueueArn}"])],
    },
];
