//! One discovered thing, and how a reading of it meets what is stored.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    failure::ReasonCode,
    ids::{AccountId, Region},
};

/// The field name under which unread tags are noted.
pub const TAGS: &str = "tags";
/// The field name under which an unread name is noted.
pub const NAME: &str = "name";

/// Tag keys and values.
pub type Tags = BTreeMap<String, String>;

/// A resource as a collector read it.
///
/// What could not be read beside the list itself (tags, name, SSM state) is named in
/// `unread`; the stored value of such a field is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// ARN: with the integration, the key.
    pub arn: String,
    /// Id of its type in the catalogue.
    pub kind: &'static str,
    /// The account that it lives in.
    pub account: AccountId,
    /// Its region; none: global.
    pub region: Option<Region>,
    /// Name for people.
    pub name: String,
    /// Tags.
    pub tags: Tags,
    /// Attributes, as the catalogue lists them.
    pub attributes: Map<String, Value>,
    /// Fields that could not be read, with the reason.
    pub unread: BTreeMap<String, ReasonCode>,
}

impl Resource {
    /// Takes over the stored value of every field that could not be read.
    pub fn keep_unread(
        &mut self,
        stored_name: &str,
        stored_tags: &Tags,
        stored_attributes: &Map<String, Value>,
    ) {
        for field in self.unread.keys() {
            if field == TAGS {
                self.tags.clone_from(stored_tags);
            } else if field == NAME {
                stored_name.clone_into(&mut self.name);
            } else if let Some(value) = stored_attributes.get(field) {
                self.attributes.insert(field.clone(), value.clone());
            }
        }
    }

    /// The fields that could not be read, as stored.
    #[must_use]
    pub fn unread_json(&self) -> Value {
        self.unread.iter().map(|(field, reason)| (field.clone(), json!(reason.as_str()))).collect()
    }

    /// SHA-256 over everything that is stored of it but its key. Two equal ones mean
    /// that there is nothing to write.
    ///
    /// # Panics
    ///
    /// Never: text and numbers can always be written as JSON.
    #[must_use]
    pub fn content_hash(&self) -> [u8; 32] {
        let region = self.region.as_ref().map_or("", Region::as_str);
        let unread: BTreeMap<&str, &str> =
            self.unread.iter().map(|(field, code)| (field.as_str(), code.as_str())).collect();
        let attributes: BTreeMap<&str, Canonical<'_>> =
            self.attributes.iter().map(|(name, value)| (name.as_str(), Canonical(value))).collect();
        let content = serde_json::to_vec(&(
            self.kind,
            &self.account,
            region,
            &self.name,
            &self.tags,
            attributes,
            unread,
        ));
        Sha256::digest(content.expect("text and numbers are JSON")).into()
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let tags: usize = self.tags.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
        let attributes: usize =
            self.attributes.iter().map(|(name, value)| name.len() + 64 + value_size(value)).sum();
        size_of::<Self>() + self.arn.len() + self.name.len() + tags + attributes
    }
}

/// About how many bytes a JSON value takes beyond itself.
#[must_use]
pub fn value_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 32 + value_size(item)).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + 64 + value_size(value)).sum()
        }
    }
}

/// A value whose objects are written in the order of their keys, in whichever they were made.
struct Canonical<'a>(&'a Value);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let sorted: BTreeMap<&str, Canonical<'_>> =
                    fields.iter().map(|(name, value)| (name.as_str(), Canonical(value))).collect();
                sorted.serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Canonical)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.0.serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_bucket() -> Resource {
        Resource {
            arn: "arn:aws:s3:::logs".into(),
            kind: "aws-s3-bucket",
            account: "123456789012".parse().expect("an id"),
            region: None,
            name: "logs".into(),
            tags: Tags::from([("team".into(), "red".into())]),
            attributes: Map::new(),
            unread: BTreeMap::new(),
        }
    }

    #[test]
    fn the_hash_tells_every_field_apart() {
        let bucket = a_bucket();
        let mut others = vec![bucket.clone(); 4];
        others[0].name = "log".into();
        others[1].tags.insert("team".into(), "blue".into());
        others[2].attributes.insert("versioning".into(), json!(true));
        others[3].unread.insert(TAGS.into(), ReasonCode::ActionDenied);
        for other in others {
            assert_ne!(bucket.content_hash(), other.content_hash(), "{other:?}");
        }
        assert_eq!(bucket.content_hash(), a_bucket().content_hash());
    }

    #[test]
    fn the_hash_is_the_same_in_whichever_order_fields_were_set() {
        let fields = [("b", json!({ "y": 1, "x": [{ "q": 1, "p": 2 }] })), ("a", json!(1))];
        let other = [("a", json!(1)), ("b", json!({ "x": [{ "p": 2, "q": 1 }], "y": 1 }))];
        let of = |fields: [(&str, Value); 2]| {
            let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
            Resource { attributes: fields.collect(), ..a_bucket() }.content_hash()
        };
        assert_eq!(of(fields), of(other));
    }

    #[test]
    fn an_unread_field_keeps_its_stored_value() {
        let mut bucket = a_bucket();
        bucket.tags.clear();
        bucket.unread.insert(TAGS.into(), ReasonCode::ActionDenied);
        let stored = a_bucket();
        bucket.keep_unread(&stored.name, &stored.tags, &stored.attributes);
        assert_eq!(bucket.tags, stored.tags);
    }
}
