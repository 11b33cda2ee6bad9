//! One thing that a policy allows: actions on resources, under conditions.
//!
//! It is what a permission means on a resource, before it is written into a document: it has
//! no name there yet, and no end. Everything in it is sorted, so that two statements that say
//! the same are equal, and are stored as the same JSON.

use serde::{Deserialize, Serialize};

/// Allows actions on resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// IAM actions, such as `s3:GetObject`.
    pub actions: Vec<String>,
    /// ARNs, in which `*` and policy variables may stand.
    pub resources: Vec<String>,
    /// All of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What must hold of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// How key and values are compared.
    pub operator: Operator,
    /// Key of the request, such as `aws:ResourceAccount`.
    pub key: String,
    /// One of them is to match.
    pub values: Vec<String>,
}

macro_rules! operators {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)+) => {
        /// How a condition compares; the texts are those of policies.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Operator {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl Operator {
            /// As it stands in a policy.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

operators! {
    /// A truth value, or the key is absent.
    BoolIfExists = "BoolIfExists";
    /// Before a time.
    DateLessThan = "DateLessThan";
    /// One of the key's several values is equal.
    AnyStringEquals = "ForAnyValue:StringEquals";
    /// Equal.
    StringEquals = "StringEquals";
    /// Equal but for `*` and `?`.
    StringLike = "StringLike";
}

/// Allows actions, on nothing yet.
#[must_use]
pub fn allow(actions: &[&str]) -> Statement {
    Statement {
        actions: sorted(actions.iter().copied()),
        resources: Vec::new(),
        conditions: Vec::new(),
    }
}

impl Statement {
    /// The same on these resources as well.
    #[must_use]
    pub fn on<T: Into<String>>(mut self, resources: impl IntoIterator<Item = T>) -> Self {
        let all = self.resources.into_iter().chain(resources.into_iter().map(Into::into));
        self.resources = sorted(all);
        self
    }

    /// The same under one more condition.
    #[must_use]
    pub fn when<T: Into<String>>(
        mut self,
        operator: Operator,
        key: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        self.conditions.push(Condition { operator, key: key.to_owned(), values: sorted(values) });
        self.conditions.sort_unstable();
        self.conditions.dedup();
        self
    }
}

fn sorted<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut texts: Vec<String> = texts.into_iter().map(Into::into).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

#[cfg(test)]
mod tests {
    use super::{Operator::*, *};

    #[test]
    fn what_says_the_same_is_equal_in_whichever_order_it_was_said() {
        let one = allow(&["s3:PutObject", "s3:GetObject"])
            .on(["arn:b", "arn:a"])
            .when(StringLike, "k", ["y", "x"])
            .when(StringEquals, "k", ["x"]);
        let other = allow(&["s3:GetObject", "s3:PutObject", "s3:GetObject"])
            .on(["arn:a"])
            .on(["arn:b"])
            .when(StringEquals, "k", ["x"])
            .when(StringLike, "k", ["x", "y"]);
        assert_eq!(one, other);
        assert_ne!(one, other.clone().when(StringEquals, "l", ["x"]));
    }

    #[test]
    fn it_is_stored_and_read_back() {
        let statement = allow(&["s3:ListBucket"]).on(["arn:a"]);
        let stored = r#"{"actions":["s3:ListBucket"],"resources":["arn:a"]}"#;
        assert_eq!(serde_json::to_string(&statement).expect("JSON"), stored);
        assert_eq!(serde_json::from_str::<Statement>(stored).expect("a statement"), statement);

        let statement = statement.when(AnyStringEquals, "kms:ResourceAliases", ["alias/a"]);
        let stored = serde_json::to_value(&statement).expect("JSON");
        assert_eq!(stored["conditions"][0]["operator"], AnyStringEquals.as_str());
        assert_eq!(serde_json::from_value::<Statement>(stored).expect("a statement"), statement);
    }
}
