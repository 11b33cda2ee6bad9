//! Which resources are meant: the filters of lists and counts.
//!
//! The grammar is that of [AIP-160](https://google.aip.dev/160), which other APIs speak,
//! too; this file gives it our fields. A [`Condition`] can be asked of a row only by the
//! database (`store::filter`), so nothing here looks at resources.

use aip_160::{
    Arg, Comparable, Comparator, Expression, FilterError, Member, Restriction,
    parse_filter_with_max_depth,
};

use super::{
    ids::{AccountId, OuId, Region},
    owner::BLANKS,
};

#[cfg(test)]
mod tests;

/// Bytes of the longest filter.
const BYTES_MAX: usize = 4000;
/// Conditions of the largest filter.
const CONDITIONS_MAX: usize = 50;
/// Brackets within brackets.
const DEPTH_MAX: usize = 16;

const FIELDS: &str = "type, account, account.name, ou, ou.name, region, tag.KEY, owner, owner.by, \
                      name, arn, text, state";

/// What must hold of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All of them; none: everything.
    All(Vec<Self>),
    /// One of them at least.
    Any(Vec<Self>),
    /// It does not.
    Not(Box<Self>),
    /// Of one of these types.
    Type(Vec<String>),
    /// In this account.
    Account(AccountId),
    /// In an account with such a name.
    AccountName(Pattern),
    /// In this root or organizational unit, or below it.
    Unit(OuId),
    /// In an organizational unit with such a name, or below it.
    UnitName(Pattern),
    /// In such a region; what has none has the empty one.
    Region(Pattern),
    /// It has some tag.
    HasTags,
    /// It has a tag with this key.
    TagKey(String),
    /// It has this tag, with such a value.
    Tag(String, Pattern),
    /// Somebody is named who approves.
    HasOwner,
    /// Who approves.
    Owner(Pattern),
    /// Who says who approves.
    OwnerBy(Namer),
    /// Its name.
    Name(Pattern),
    /// Its ARN.
    Arn(Pattern),
    /// Its name or its ARN holds this, in any case.
    Text(String),
    /// What is known of it.
    State(State),
}

/// What a text must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this.
    Is(String),
    /// It begins so, in any case.
    Begins(String),
    /// It ends so, in any case.
    Ends(String),
    /// This stands somewhere in it, in any case.
    Holds(String),
}

impl Condition {
    /// Whether a database can only guess of how many rows it holds.
    #[must_use]
    pub fn is_guessed(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::is_guessed),
            Self::Not(inner) => inner.is_guessed(),
            Self::HasTags | Self::HasOwner | Self::OwnerBy(_) | Self::State(_) => true,
            Self::Tag(_, pattern) | Self::Owner(pattern) => !matches!(pattern, Pattern::Is(_)),
            Self::Type(_)
            | Self::Account(_)
            | Self::AccountName(_)
            | Self::Unit(_)
            | Self::UnitName(_)
            | Self::Region(_)
            | Self::TagKey(_)
            | Self::Name(_)
            | Self::Arn(_)
            | Self::Text(_) => false,
        }
    }

    /// How many conditions of one field it is made of.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::count).sum(),
            Self::Not(inner) => inner.count(),
            Self::Type(_)
            | Self::Account(_)
            | Self::AccountName(_)
            | Self::Unit(_)
            | Self::UnitName(_)
            | Self::Region(_)
            | Self::HasTags
            | Self::TagKey(_)
            | Self::Tag(..)
            | Self::HasOwner
            | Self::Owner(_)
            | Self::OwnerBy(_)
            | Self::Name(_)
            | Self::Arn(_)
            | Self::Text(_)
            | Self::State(_) => 1,
        }
    }
}

/// Who says who approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namer {
    /// The resource's owner tag.
    Tag,
    /// The integration, as no tag does.
    Integration,
}

/// What is known of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is there, and nothing kept its scope from being read.
    Fresh,
    /// Its scope could not be read last time, or is not read any more.
    Stale,
    /// It is missing, and kept because so many are.
    Held,
    /// Something of it could not be read last time.
    Incomplete,
}

/// A filter that cannot be taken, and what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too long.
    #[error("has {0} bytes; shorten it to {BYTES_MAX}")]
    TooLong(usize),
    /// PostgreSQL cannot look for it.
    #[error("holds U+0000; remove it")]
    Nul,
    /// Too large.
    #[error("has more than {CONDITIONS_MAX} conditions; ask in several requests")]
    TooLarge,
    /// Not of the grammar.
    #[error(
        "cannot be read: {0}; write such as `type = aws-s3-bucket AND tag.env = prod`, and quote \
         what holds spaces or any of : . , = ( )"
    )]
    Syntax(FilterError),
    /// Unknown field.
    #[error("knows no field {0:?}; use {FIELDS}")]
    Field(String),
    /// A comparison that the field does not have.
    #[error("cannot compare {field} by {comparator}; use =, != or :")]
    Comparator {
        /// Field.
        field: String,
        /// As it was written.
        comparator: Comparator,
    },
    /// A value that the field cannot have.
    #[error("cannot look for {field} {found:?}; use {expected}")]
    Value {
        /// Field.
        field: String,
        /// As it was written.
        found: String,
        /// What would do.
        expected: String,
    },
}

/// Reads a filter; the empty one means everything. `types` are those of the catalogue.
///
/// # Errors
///
/// When it cannot be taken.
pub fn parse(text: &str, types: &[&str]) -> Result<Condition, Error> {
    if text.len() > BYTES_MAX {
        return Err(Error::TooLong(text.len()));
    }
    if text.contains('\0') {
        return Err(Error::Nul);
    }
    let filter = parse_filter_with_max_depth(text, DEPTH_MAX).map_err(Error::Syntax)?;
    let mut reader = Reader { types, conditions: 0 };
    filter.expression.map_or(Ok(Condition::All(Vec::new())), |root| reader.condition(&root))
}

struct Reader<'a> {
    types: &'a [&'a str],
    conditions: usize,
}

impl Reader<'_> {
    fn condition(&mut self, expression: &Expression) -> Result<Condition, Error> {
        match expression {
            Expression::And(parts) | Expression::Sequence(parts) => {
                self.conditions(parts).map(Condition::All)
            }
            Expression::Or(parts) => self.conditions(parts).map(Condition::Any),
            Expression::Not(inner) => Ok(Condition::Not(Box::new(self.condition(inner)?))),
            Expression::Restriction(restriction) => {
                self.count()?;
                self.restriction(restriction)
            }
            Expression::Global(comparable) => {
                self.count()?;
                text_of("text", joined(comparable, "text")?)
            }
        }
    }

    fn conditions(&mut self, parts: &[Expression]) -> Result<Vec<Condition>, Error> {
        parts.iter().map(|part| self.condition(part)).collect()
    }

    fn count(&mut self) -> Result<(), Error> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX { Err(Error::TooLarge) } else { Ok(()) }
    }

    fn restriction(&self, restriction: &Restriction) -> Result<Condition, Error> {
        let Comparable::Member(member) = &restriction.comparable else {
            return Err(Error::Field(restriction.comparable.to_string()));
        };
        let field = member.to_string();
        let value = match &restriction.arg {
            Arg::Comparable(comparable) => joined(comparable, &field)?,
            Arg::Composite(inner) => {
                return Err(unfit(
                    &field,
                    inner.to_string(),
                    "one value; write OR between conditions",
                ));
            }
        };
        match restriction.comparator {
            Comparator::Equal => self.is(member, &field, value, Pattern::of),
            Comparator::Has => self.is(member, &field, value, Pattern::held),
            Comparator::NotEqual => {
                let is = self.is(member, &field, value, Pattern::of)?;
                Ok(Condition::Not(Box::new(is)))
            }
            comparator @ (Comparator::GreaterThan
            | Comparator::GreaterThanOrEqual
            | Comparator::LessThan
            | Comparator::LessThanOrEqual) => Err(Error::Comparator { field, comparator }),
        }
    }

    fn is(
        &self,
        member: &Member,
        field: &str,
        value: String,
        pattern: fn(String) -> Pattern,
    ) -> Result<Condition, Error> {
        let rest: Vec<&str> = member.fields.iter().map(aip_160::Value::as_str).collect();
        match (member.value.as_str(), rest.as_slice()) {
            ("type", []) => self.types(field, value, pattern),
            ("account", []) => match value.parse::<AccountId>() {
                Ok(id) => Ok(Condition::Account(id)),
                Err(error) => Err(unfit(field, value, error.expected)),
            },
            ("account", ["name"]) => Ok(Condition::AccountName(pattern(value))),
            ("ou", []) => match value.parse::<OuId>() {
                Ok(id) => Ok(Condition::Unit(id)),
                Err(error) => Err(unfit(field, value, error.expected)),
            },
            ("ou", ["name"]) => Ok(Condition::UnitName(pattern(value))),
            ("region", []) => region(field, value, pattern),
            ("tag", []) if value == "*" => Ok(Condition::HasTags),
            ("tag", []) if value.starts_with('*') || value.ends_with('*') => {
                Err(unfit(field, value, "a whole key"))
            }
            ("tag", []) => Ok(Condition::TagKey(value)),
            // A key may hold dots.
            ("tag", key) if value == "*" => Ok(Condition::TagKey(key.join("."))),
            ("tag", key) => Ok(Condition::Tag(key.join("."), pattern(value))),
            ("owner", []) if value == "*" => Ok(Condition::HasOwner),
            ("owner", []) if value.trim_matches(BLANKS).is_empty() => {
                Err(unfit(field, value, "who approves; NOT owner:* finds what nobody does"))
            }
            ("owner", []) => Ok(Condition::Owner(pattern(value))),
            ("owner", ["by"]) => match value.as_str() {
                "tag" => Ok(Condition::OwnerBy(Namer::Tag)),
                "integration" => Ok(Condition::OwnerBy(Namer::Integration)),
                _ => Err(unfit(field, value, "tag or integration")),
            },
            ("name", []) => Ok(Condition::Name(pattern(value))),
            ("arn", []) => Ok(Condition::Arn(pattern(value))),
            ("text", []) => text_of(field, value),
            ("state", []) => match value.as_str() {
                "fresh" => Ok(Condition::State(State::Fresh)),
                "stale" => Ok(Condition::State(State::Stale)),
                "held" => Ok(Condition::State(State::Held)),
                "incomplete" => Ok(Condition::State(State::Incomplete)),
                _ => Err(unfit(field, value, "fresh, stale, held or incomplete")),
            },
            _ => Err(Error::Field(field.to_owned())),
        }
    }

    /// The types that a pattern means: a type that is none is a mistake, not an empty list.
    fn types(
        &self,
        field: &str,
        value: String,
        pattern: fn(String) -> Pattern,
    ) -> Result<Condition, Error> {
        let wanted = pattern(value.clone());
        let types = self.types.iter().filter(|id| wanted.fits(id));
        let types: Vec<String> = types.map(|id| (*id).to_owned()).collect();
        if types.is_empty() {
            return Err(unfit(field, value, &self.types.join(", ")));
        }
        Ok(Condition::Type(types))
    }
}

impl Pattern {
    /// What `=` means: a star at the beginning or the end stands for anything.
    fn of(text: String) -> Self {
        let (head, tail) = (text.strip_prefix('*'), text.strip_suffix('*'));
        match (head, tail) {
            (None, None) => Self::Is(text),
            (None, Some(head)) => Self::Begins(head.to_owned()),
            (Some(tail), None) => Self::Ends(tail.to_owned()),
            (Some(tail), Some(_)) => Self::Holds(tail.strip_suffix('*').unwrap_or("").to_owned()),
        }
    }

    /// What `:` means: it stands somewhere.
    fn held(text: String) -> Self {
        match Self::of(text) {
            Self::Is(text) => Self::Holds(text),
            starred @ (Self::Begins(_) | Self::Ends(_) | Self::Holds(_)) => starred,
        }
    }

    /// Whether a text is like it.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let lower = text.to_lowercase();
        match self {
            Self::Is(wanted) => text == wanted,
            Self::Begins(wanted) => lower.starts_with(&wanted.to_lowercase()),
            Self::Ends(wanted) => lower.ends_with(&wanted.to_lowercase()),
            Self::Holds(wanted) => lower.contains(&wanted.to_lowercase()),
        }
    }
}

fn region(field: &str, value: String, pattern: fn(String) -> Pattern) -> Result<Condition, Error> {
    let pattern = match value.as_str() {
        "*" => return Ok(Condition::Not(Box::new(Condition::Region(Pattern::Is(String::new()))))),
        "" | "global" => Pattern::Is(String::new()),
        _ => pattern(value),
    };
    match &pattern {
        Pattern::Is(id) if !id.is_empty() && id.parse::<Region>().is_err() => {
            Err(unfit(field, id.clone(), "a region, such as eu-west-1, or global"))
        }
        Pattern::Is(_) | Pattern::Begins(_) | Pattern::Ends(_) | Pattern::Holds(_) => {
            Ok(Condition::Region(pattern))
        }
    }
}

fn text_of(field: &str, value: String) -> Result<Condition, Error> {
    // Whoever brings stars means the same.
    match value.trim_matches('*') {
        "" => Err(unfit(field, value, "some text")),
        text => Ok(Condition::Text(text.to_owned())),
    }
}

/// A value; unquoted ones may hold dots: `ann@example.com`.
fn joined(comparable: &Comparable, field: &str) -> Result<String, Error> {
    let Comparable::Member(member) = comparable else {
        return Err(unfit(field, comparable.to_string(), "a value; there are no functions"));
    };
    let parts = std::iter::once(&member.value).chain(&member.fields);
    Ok(parts.map(aip_160::Value::as_str).collect::<Vec<_>>().join("."))
}

fn unfit(field: &str, found: String, expected: &str) -> Error {
    Error::Value { field: field.to_owned(), found, expected: expected.to_owned() }
}
