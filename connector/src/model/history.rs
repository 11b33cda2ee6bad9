//! What a resource was: its versions, and what differs from one to the next.

use serde_json::{Map, Value, json};

use super::resource::value_size;

/// Attributes that tell of use, not of change: alone they make no version.
pub const OF_USE: [&str; 1] = ["last_used"];

/// What a version says.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Type id.
    pub kind: String,
    /// Account.
    pub account_id: String,
    /// Region; empty: global.
    pub region: String,
    /// Name.
    pub name: String,
    /// Tags: an object of strings.
    pub tags: Value,
    /// Attributes: an object.
    pub attributes: Value,
}

impl Content {
    /// About how many bytes it takes in a message.
    #[must_use]
    pub fn size(&self) -> usize {
        self.name.len() + value_size(&self.tags) + value_size(&self.attributes) + 200
    }
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// `name`, `tags.team`, `attributes.state`.
    pub field: String,
    /// As it was; none: it was not there.
    pub before: Option<Value>,
    /// As it became; none: it is not there any more.
    pub after: Option<Value>,
}

/// What differs from one version to the next, by field.
#[must_use]
pub fn changes(before: &Content, after: &Content) -> Vec<Change> {
    let columns = |content: &Content| {
        Map::from_iter([
            ("account_id".to_owned(), json!(content.account_id)),
            ("name".to_owned(), json!(content.name)),
            ("region".to_owned(), json!(content.region)),
            ("type".to_owned(), json!(content.kind)),
        ])
    };
    let mut changes = differing("", &columns(before), &columns(after));
    for (prefix, before, after) in [
        ("attributes.", &before.attributes, &after.attributes),
        ("tags.", &before.tags, &after.tags),
    ] {
        if let (Some(before), Some(after)) = (before.as_object(), after.as_object()) {
            changes.extend(differing(prefix, before, after));
        }
    }
    changes
}

fn differing(prefix: &str, before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Change> {
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let keys = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    keys.map(|key| Change {
        field: format!("{prefix}{key}"),
        before: before.get(key).cloned(),
        after: after.get(key).cloned(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_field_by_field() {
        let before = Content {
            kind: "aws-ec2-instance".into(),
            account_id: "222222222222".into(),
            region: "eu-west-1".into(),
            name: "web".into(),
            tags: json!({"env": "dev", "team": "red"}),
            attributes: json!({"state": "running", "groups": ["a"]}),
        };
        let mut after = before.clone();
        assert_eq!(changes(&before, &after), []);
        after.name = "web-1".into();
        after.tags = json!({"env": "prod", "owner": "ann"});
        after.attributes = json!({"state": "running", "groups": ["a", "b"]});
        let changed = changes(&before, &after);
        let shown: Vec<String> = changed
            .into_iter()
            .map(|change| {
                let text = |value: Option<Value>| value.map_or("-".to_owned(), |v| v.to_string());
                format!("{}: {} -> {}", change.field, text(change.before), text(change.after))
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#"name: "web" -> "web-1""#,
                r#"attributes.groups: ["a"] -> ["a","b"]"#,
                r#"tags.env: "dev" -> "prod""#,
                r#"tags.owner: - -> "ann""#,
                r#"tags.team: "red" -> -"#,
            ]
        );
    }
}
