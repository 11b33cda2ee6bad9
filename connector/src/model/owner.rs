//! Who approves access to a resource: whom its owner tag names, else the owner of the
//! integration. An owner is a reference; nobody here expands a group.

use super::integration::{IntegrationOwner, OwnerAttribute, ResourceOwner};

/// What may stand around an owner's name in a tag.
pub const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Who approves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What the values are, in the words of the identity provider.
    pub attribute: String,
    /// The identity provider that knows them.
    pub source: String,
    /// Who; never empty.
    pub values: Vec<String>,
    /// Whether no tag named anybody, so that it is the integration's.
    pub is_integrations: bool,
}

impl Owner {
    /// The owner of a resource, whose tags have these values; none: nobody is named.
    #[must_use]
    pub fn of<'t>(
        value_of: impl Fn(&str) -> Option<&'t str>,
        tag: Option<&ResourceOwner>,
        fallback: Option<&IntegrationOwner>,
    ) -> Option<Self> {
        let named = tag.and_then(|tag| {
            let value = value_of(&tag.tag_key)?.trim_matches(BLANKS);
            (!value.is_empty()).then(|| Self {
                attribute: tag.attribute.clone(),
                source: tag.source.clone(),
                values: vec![value.to_owned()],
                is_integrations: false,
            })
        });
        named.or_else(|| {
            fallback.map(|owner| Self {
                attribute: match owner.attribute {
                    OwnerAttribute::User => "user".to_owned(),
                    OwnerAttribute::Group => "group".to_owned(),
                },
                source: owner.source.clone(),
                values: owner.values.clone(),
                is_integrations: true,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resource::Tags;

    #[test]
    fn a_tag_names_the_owner_and_the_integration_else() {
        let tag = ResourceOwner {
            tag_key: "owner".into(),
            attribute: "email".into(),
            source: "okta".into(),
        };
        let fallback = IntegrationOwner {
            attribute: OwnerAttribute::Group,
            source: "okta".into(),
            values: vec!["platform".into(), "security".into()],
        };
        let of = |value: &str| {
            let tags = Tags::from([("owner".to_owned(), value.to_owned())]);
            Owner::of(|key| tags.get(key).map(String::as_str), Some(&tag), Some(&fallback))
                .expect("an owner")
        };
        assert_eq!(of(" ann@example.com ").values, ["ann@example.com"]);
        assert!(!of("ann@example.com").is_integrations);
        for nobody in ["", "  "] {
            let owner = of(nobody);
            assert_eq!((owner.attribute.as_str(), owner.values.len()), ("group", 2));
            assert!(owner.is_integrations);
        }
        assert_eq!(Owner::of(|_| None, Some(&tag), None), None);
        assert_eq!(Owner::of(|_| None, None, None), None);
    }
}
