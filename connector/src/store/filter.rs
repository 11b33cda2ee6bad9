//! Filters as SQL: each condition becomes a term about `r`, the row of a resource.
//!
//! Tags are looked for by numbers that the database makes of integration and tag: of each
//! key, of each key with its value, and of that with the type (`connector.tag_terms`). An
//! index knows the rows of each number, and its statistics tell rare tags from common ones.
//!
//! Every value is bound; nothing of a caller's stands in the text.

use std::cmp::Ordering;

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::integrations::Integration;
use crate::model::{
    filter::{Condition, Namer, Pattern, State},
    ids::{ConnectorId, IntegrationId},
    owner::BLANKS,
};

/// The live resources that a filter means.
#[derive(Clone, Copy, Debug)]
pub struct Meant<'a> {
    /// The tenant.
    pub connector: &'a ConnectorId,
    /// Of this integration alone; none: of all of the connector.
    pub only: Option<IntegrationId>,
    /// The integrations that these are.
    pub integrations: &'a [Integration],
    /// What must hold.
    pub condition: &'a Condition,
}

impl Meant<'_> {
    /// Adds to a query where they stand: what indexes have in the order of a page, and behind
    /// which key.
    pub(super) fn push_place(
        &self,
        query: &mut QueryBuilder<Postgres>,
        after: Option<(Uuid, &str)>,
    ) {
        query.push("connector.resources r WHERE r.gone_at IS NULL AND r.connector_id = ");
        query.push_bind(self.connector.as_str());
        if let Some(integration) = self.only {
            query.push(" AND r.integration_id = ").push_bind(integration.0);
        }
        if let Some(only) = only_type(self.condition) {
            query.push(" AND r.type = ").push_bind(only);
        }
        match (self.only, after) {
            (_, None) => {}
            (Some(only), Some((integration, arn))) => {
                // Behind another integration there is all of it, or nothing.
                match integration.cmp(&only.0) {
                    Ordering::Less => {}
                    Ordering::Equal => {
                        query.push(" AND r.arn > ").push_bind(arn);
                    }
                    Ordering::Greater => {
                        query.push(" AND FALSE");
                    }
                }
            }
            (None, Some((integration, arn))) => {
                query.push(" AND (r.integration_id, r.arn) > (").push_bind(integration);
                query.push(", ").push_bind(arn).push(")");
            }
        }
    }

    /// Adds to a query what must hold of them.
    pub(super) fn push_condition(&self, query: &mut QueryBuilder<Postgres>, terms: Terms) {
        Writer { query, meant: *self, terms, kind: None }.condition(self.condition);
    }
}

/// By which of its terms a tag is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// By key and value alone: PostgreSQL tells how many there are of a type.
    Plain,
    /// By key, value and type, where the type is known: an index finds no others.
    WithType,
}

struct Writer<'a> {
    query: &'a mut QueryBuilder<Postgres>,
    meant: Meant<'a>,
    terms: Terms,
    /// The type that all resources have of which conditions are written now.
    kind: Option<&'a str>,
}

/// What a tag is looked up by: a function of the database, and what it is given.
struct Term<'a> {
    function: &'static str,
    integration: IntegrationId,
    key: &'a str,
    value: Option<&'a str>,
}

impl<'a> Writer<'a> {
    fn condition(&mut self, condition: &'a Condition) {
        match condition {
            Condition::All(parts) => {
                let outside = self.kind;
                self.kind = parts.iter().find_map(only_type).or(outside);
                self.joined(" AND ", "TRUE", parts, Self::condition);
                self.kind = outside;
            }
            Condition::Any(parts) => self.joined(" OR ", "FALSE", parts, Self::condition),
            Condition::Not(inner) => {
                self.query.push("NOT ");
                self.condition(inner);
            }
            Condition::Type(types) => match types.as_slice() {
                // So that an index gives them in their order.
                [only] => self.equal("r.type", only),
                _ => {
                    self.query.push("r.type = ANY (").push_bind(types).push(")");
                }
            },
            Condition::Account(id) => self.equal("r.account_id", id.as_str()),
            Condition::AccountName(pattern) => {
                self.accounts("", |query| fits(query, "a.name", pattern));
            }
            Condition::Unit(id) => self.accounts("", |query| {
                query.push_bind(id.as_str()).push(" = ANY (a.path)");
            }),
            Condition::UnitName(pattern) => self.accounts(
                " JOIN connector.organizational_units u ON u.connector_id = a.connector_id
                   AND u.integration_id = a.integration_id AND u.ou_id = ANY (a.path)",
                |query| fits(query, "u.name", pattern),
            ),
            Condition::Region(pattern) => fits(self.query, "r.region", pattern),
            Condition::HasTags => {
                self.query.push("r.tags <> '{}'");
            }
            Condition::TagKey(key) => self.has_key(key),
            Condition::Tag(key, pattern) => self.tag(key, pattern),
            Condition::HasOwner => {
                self.joined(" OR ", "FALSE", [Namer::Tag, Namer::Integration], Self::owner_by);
            }
            Condition::OwnerBy(namer) => self.owner_by(*namer),
            Condition::Owner(pattern) => self.owner(pattern),
            Condition::Name(pattern) => fits(self.query, "r.name", pattern),
            Condition::Arn(pattern) => fits(self.query, "r.arn", pattern),
            Condition::Text(text) => {
                let pattern = Pattern::Holds(text.clone());
                self.joined(" OR ", "FALSE", ["r.name", "r.arn"], |this, column| {
                    fits(this.query, column, &pattern);
                });
            }
            Condition::State(state) => self.state(*state),
        }
    }

    /// Conditions in brackets with a word between them, or what it means that there is none.
    fn joined<T>(
        &mut self,
        word: &str,
        none: &str,
        parts: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.query.push("(");
        let mut is_first = true;
        for part in parts {
            if !is_first {
                self.query.push(word);
            }
            is_first = false;
            each(self, part);
        }
        self.query.push(if is_first { none } else { "" }).push(")");
    }

    fn equal(&mut self, column: &str, value: &str) {
        self.query.push(column).push(" = ").push_bind(value);
    }

    /// Of the accounts of which something holds.
    fn accounts(&mut self, join: &str, holds: impl FnOnce(&mut QueryBuilder<Postgres>)) {
        let query = &mut *self.query;
        query.push(
            "(r.integration_id, r.account_id) IN
             (SELECT a.integration_id, a.account_id FROM connector.accounts a",
        );
        query.push(join).push(" WHERE a.connector_id = ").push_bind(self.meant.connector.as_str());
        if let Some(integration) = self.meant.only {
            query.push(" AND a.integration_id = ").push_bind(integration.0);
        }
        query.push(" AND ");
        holds(query);
        query.push(")");
    }

    fn tag(&mut self, key: &str, pattern: &Pattern) {
        if let Pattern::Is(value) = pattern {
            let terms = self.meant.integrations.iter().map(|integration| Term {
                function: "tag_term",
                integration: integration.id,
                key,
                value: Some(value),
            });
            return self.has_one(terms);
        }
        self.query.push("(");
        self.has_key(key);
        self.query.push(" AND (r.tags ->> ").push_bind(key).push(")");
        like(self.query, pattern);
        self.query.push(")");
    }

    fn has_key(&mut self, key: &str) {
        let terms = self.meant.integrations.iter().map(|integration| Term {
            function: "tag_key_term",
            integration: integration.id,
            key,
            value: None,
        });
        self.has_one(terms);
    }

    /// One of the terms is among those of its tags.
    fn has_one<'t>(&mut self, terms: impl IntoIterator<Item = Term<'t>>) {
        self.query.push("r.tag_terms && ARRAY[");
        let mut comma = "";
        for Term { function, integration, key, value } in terms {
            let is_typed = self.terms == Terms::WithType && function == "tag_term";
            let kind = self.kind.filter(|_| is_typed);
            self.query.push(comma).push(if kind.is_some() {
                "connector.tag_type_term("
            } else {
                ""
            });
            self.query.push("connector.").push(function).push("(");
            self.query.push_bind(integration.0).push(", ").push_bind(key);
            if let Some(value) = value {
                self.query.push(", ").push_bind(value);
            }
            self.query.push(")");
            if let Some(kind) = kind {
                self.query.push(", ").push_bind(kind).push(")");
            }
            comma = ", ";
        }
        self.query.push("]::bigint[]");
    }

    /// Who approves is like this: whom the owner tag names, or the integration does.
    fn owner(&mut self, pattern: &Pattern) {
        self.query.push("(");
        match pattern {
            Pattern::Is(owner) => {
                let owner = owner.trim_matches(BLANKS);
                let functions = ["tag_term", "tag_trimmed_term"];
                let terms = self.tagged().flat_map(|(integration, key)| {
                    let term =
                        move |function| Term { function, integration, key, value: Some(owner) };
                    functions.map(term)
                });
                self.has_one(terms.collect::<Vec<_>>());
            }
            Pattern::Begins(_) | Pattern::Ends(_) | Pattern::Holds(_) => {
                self.owner_by_tag();
                like(self.query, pattern);
            }
        }
        let owners = self.meant.integrations.iter().filter(|integration| {
            let owner = integration.settings.integration_owner.as_ref();
            owner.is_some_and(|owner| owner.values.iter().any(|value| pattern.fits(value)))
        });
        let owners: Vec<Uuid> = owners.map(|integration| integration.id.0).collect();
        if !owners.is_empty() {
            self.query.push(" OR ");
            self.of_unnamed(&owners);
        }
        self.query.push(")");
    }

    fn owner_by(&mut self, namer: Namer) {
        match namer {
            Namer::Tag => {
                self.owner_by_tag();
                self.query.push(" <> ''");
            }
            Namer::Integration => {
                let integrations = self.meant.integrations.iter();
                let owners = integrations.filter(|one| one.settings.integration_owner.is_some());
                self.of_unnamed(&owners.map(|one| one.id.0).collect::<Vec<_>>());
            }
        }
    }

    /// No tag names an owner, and it is of one of these integrations.
    fn of_unnamed(&mut self, integrations: &[Uuid]) {
        self.query.push("(");
        self.owner_by_tag();
        self.query.push(" = '' AND r.integration_id = ANY (").push_bind(integrations).push("))");
    }

    /// Whom the owner tag names; nobody is the empty text.
    fn owner_by_tag(&mut self) {
        let tagged: Vec<_> = self.tagged().collect();
        if tagged.is_empty() {
            self.query.push("''");
            return;
        }
        self.query.push("coalesce(btrim(r.tags ->> CASE r.integration_id");
        for (integration, key) in tagged {
            self.query.push(" WHEN ").push_bind(integration.0).push(" THEN ").push_bind(key);
        }
        self.query.push(" END, E' \\t\\r\\n'), '')");
    }

    /// The integrations whose resources may have an owner tag, with its key.
    fn tagged(&self) -> impl Iterator<Item = (IntegrationId, &'a str)> + use<'a> {
        self.meant.integrations.iter().filter_map(|integration| {
            Some((integration.id, integration.settings.resource_owner.as_ref()?.tag_key.as_str()))
        })
    }

    fn state(&mut self, state: State) {
        match state {
            State::Held => {
                self.query.push("r.missing_reads > 0");
            }
            State::Incomplete => {
                self.query.push("r.unread <> '{}'");
            }
            State::Stale => self.stale(),
            State::Fresh => {
                self.query.push("NOT (r.missing_reads > 0 OR ");
                self.stale();
                self.query.push(")");
            }
        }
    }

    /// Its scope could not be read last time, or its type is not chosen any more.
    fn stale(&mut self) {
        self.query.push(
            "((r.integration_id, r.scope_account_id, r.scope_region, r.collector) IN
             (SELECT s.integration_id, s.account_id, s.region, s.collector FROM connector.scopes s
              WHERE s.unread_reason IS NOT NULL AND s.connector_id = ",
        );
        self.query.push_bind(self.meant.connector.as_str()).push(")");
        for integration in self.meant.integrations {
            let types: Vec<&str> =
                integration.settings.resource_types.iter().map(String::as_str).collect();
            self.query.push(" OR (r.integration_id = ").push_bind(integration.id.0);
            self.query.push(" AND r.type <> ALL (").push_bind(types).push("))");
        }
        self.query.push(")");
    }
}

/// The type, if there is only one of which this holds.
fn only_type(condition: &Condition) -> Option<&str> {
    if let Condition::All(parts) = condition {
        return parts.iter().find_map(only_type);
    }
    let Condition::Type(types) = condition else { return None };
    if let [only] = types.as_slice() { Some(only) } else { None }
}

fn fits(query: &mut QueryBuilder<Postgres>, column: &str, pattern: &Pattern) {
    query.push(column);
    match pattern {
        Pattern::Is(text) => {
            query.push(" = ").push_bind(text);
        }
        Pattern::Begins(_) | Pattern::Ends(_) | Pattern::Holds(_) => like(query, pattern),
    }
}

/// The text before it is like this, in any case.
fn like(query: &mut QueryBuilder<Postgres>, pattern: &Pattern) {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let pattern = match pattern {
        Pattern::Is(text) => escaped(text),
        Pattern::Begins(text) => format!("{}%", escaped(text)),
        Pattern::Ends(text) => format!("%{}", escaped(text)),
        Pattern::Holds(text) => format!("%{}%", escaped(text)),
    };
    query.push(" ILIKE ").push_bind(pattern);
}
