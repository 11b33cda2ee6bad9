//! What filters can be read, and what the others are told.

use super::*;

const TYPES: &[&str] = &["aws-rds-cluster", "aws-rds-instance", "aws-s3-bucket"];

fn read(text: &str) -> Condition {
    parse(text, TYPES).unwrap_or_else(|error| panic!("{text}: the filter {error}"))
}

fn is(text: &str) -> Pattern {
    Pattern::Is(text.to_owned())
}

#[test]
fn every_field_is_read() {
    let types = |ids: &[&str]| Condition::Type(ids.iter().map(|id| (*id).to_owned()).collect());
    let owned = str::to_owned;
    for (text, condition) in [
        ("", Condition::All(vec![])),
        ("type = aws-s3-bucket", types(&["aws-s3-bucket"])),
        ("type:rds", types(&["aws-rds-cluster", "aws-rds-instance"])),
        ("type = 'aws-rds-*'", types(&["aws-rds-cluster", "aws-rds-instance"])),
        ("account = 123456789012", Condition::Account("123456789012".parse().expect("an id"))),
        ("account.name = pay*", Condition::AccountName(Pattern::Begins(owned("pay")))),
        ("ou = ou-ab12-11112222", Condition::Unit("ou-ab12-11112222".parse().expect("an id"))),
        ("ou.name = Production", Condition::UnitName(is("Production"))),
        ("region = eu-west-1", Condition::Region(is("eu-west-1"))),
        ("region = global", Condition::Region(is(""))),
        ("region = eu-*", Condition::Region(Pattern::Begins(owned("eu-")))),
        ("tag.env = prod", Condition::Tag(owned("env"), is("prod"))),
        ("tag.a.b = c.d", Condition::Tag(owned("a.b"), is("c.d"))),
        ("tag.\"aws:x = y\" = \"\"", Condition::Tag(owned("aws:x = y"), is(""))),
        ("tag.env:ro", Condition::Tag(owned("env"), Pattern::Holds(owned("ro")))),
        ("tag:env", Condition::TagKey(owned("env"))),
        ("tag:*", Condition::HasTags),
        ("region:*", Condition::Not(Box::new(Condition::Region(is(""))))),
        ("tag.env:*", Condition::TagKey(owned("env"))),
        ("owner = ann@example.com", Condition::Owner(is("ann@example.com"))),
        ("owner:*", Condition::HasOwner),
        ("owner.by = tag", Condition::OwnerBy(Namer::Tag)),
        ("name = *-web", Condition::Name(Pattern::Ends(owned("-web")))),
        ("name = '*web*'", Condition::Name(Pattern::Holds(owned("web")))),
        ("arn:web", Condition::Arn(Pattern::Holds(owned("web")))),
        ("arn = \"arn:any:s3:::logs\"", Condition::Arn(is("arn:any:s3:::logs"))),
        ("text = web", Condition::Text(owned("web"))),
        ("web", Condition::Text(owned("web"))),
        ("*web*", Condition::Text(owned("web"))),
        ("state = held", Condition::State(State::Held)),
    ] {
        assert_eq!(read(text), condition, "{text}");
    }
}

#[test]
fn conditions_are_joined_as_aip_160_has_it() {
    let [a, b, c] = ["a", "b", "c"].map(|text| Condition::Text(text.to_owned()));
    let not = |inner: &Condition| Condition::Not(Box::new(inner.clone()));
    let all = |parts: &[&Condition]| Condition::All(parts.iter().copied().cloned().collect());
    let any = |parts: &[&Condition]| Condition::Any(parts.iter().copied().cloned().collect());
    assert_eq!(read("a b"), all(&[&a, &b]));
    assert_eq!(read("a AND b OR c"), all(&[&a, &any(&[&b, &c])]));
    assert_eq!(read("(a AND b) OR c"), any(&[&all(&[&a, &b]), &c]));
    assert_eq!(read("NOT a -b"), all(&[&not(&a), &not(&b)]));
    let prod = Condition::Tag("env".to_owned(), is("prod"));
    assert_eq!(read("tag.env != prod"), not(&prod));
}

#[test]
fn what_cannot_be_taken_says_what_would_be_right() {
    let many = vec!["a"; CONDITIONS_MAX + 1].join(" ");
    let long = "a".repeat(BYTES_MAX + 1);
    let deep = format!("{}a{}", "(".repeat(DEPTH_MAX + 1), ")".repeat(DEPTH_MAX + 1));
    for (text, says) in [
        ("arn:any:s3:::logs", "quote what holds spaces"),
        ("(a", "at byte 2"),
        ("name = 'a", "unterminated string"),
        ("colour = red", "knows no field \"colour\"; use type, account"),
        ("tag.env > a", "cannot compare tag.env by >; use =, != or :"),
        ("type = aws-s3", "use aws-rds-cluster, aws-rds-instance, aws-s3-bucket"),
        ("account = payments", "use an account id: twelve digits"),
        ("ou = Production", "use a root or organizational unit id"),
        ("region = europe", "use a region, such as eu-west-1, or global"),
        ("tag:env*", "use a whole key"),
        ("owner = ' '", "NOT owner:* finds what nobody does"),
        ("owner.by = me", "use tag or integration"),
        ("state = gone", "use fresh, stale, held or incomplete"),
        ("text = ''", "use some text"),
        ("name = (a OR b)", "use one value; write OR between conditions"),
        ("name = f(a)", "there are no functions"),
        ("f(a) = b", "knows no field \"f(a)\""),
        ("tag.'a\0b' = c", "holds U+0000"),
        (&many, "more than 50 conditions"),
        (&long, "shorten it to 4000"),
        (&deep, "deeper than 16 levels"),
    ] {
        let error = parse(text, TYPES).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
