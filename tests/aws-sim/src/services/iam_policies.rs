//! IAM: customer managed policies and their versions are made, changed and removed.

use super::{iam_policies_read, tags, unknown};
use crate::{
    answer::{Answer, Refusal},
    grammar,
    identity::Session,
    managed_policy::{CHARACTERS_MAX, ManagedPolicy, PolicyName, VERSIONS_MAX},
    request::Call,
    thing::Kind,
    world::World,
    xml::Xml,
};

const NAME_CHARACTERS_MAX: usize = 128;

/// Whether a call is about customer managed policies.
pub(super) fn is_about(call: &Call) -> bool {
    matches!(
        call.operation.as_str(),
        "CreatePolicy"
            | "CreatePolicyVersion"
            | "DeletePolicy"
            | "DeletePolicyVersion"
            | "GetPolicy"
            | "GetPolicyVersion"
            | "ListPolicyTags"
            | "ListPolicyVersions"
            | "TagPolicy"
            | "UntagPolicy"
    )
}

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "CreatePolicy" => return create(world, session, call),
        "GetPolicy" | "GetPolicyVersion" | "ListPolicyTags" | "ListPolicyVersions" => {
            return iam_policies_read::answer(world, session, call);
        }
        _ => {}
    }
    let name = PolicyName::of_arn(arn(call));
    let name =
        name.filter(|name| name.arn(partition(world, session), &session.account) == arn(call));
    let account = world.accounts.get(&session.account);
    let newest = name.and_then(|name| account?.managed_policies.get(&name).cloned());
    let mut policy = newest.ok_or_else(|| missing(call))?;
    let name = policy.name.clone();
    match call.operation.as_str() {
        "CreatePolicyVersion" => return add(world, session, call, policy),
        "DeletePolicyVersion" => remove_version(&mut policy, call)?,
        "DeletePolicy" => {
            check_unused(world, session, &policy)?;
            world.change_policy(&session.account, &name, None, false);
            return Ok(done(call));
        }
        "TagPolicy" => tags::put(&mut policy.tags, call),
        "UntagPolicy" => tags::remove(&mut policy.tags, call),
        _ => return Err(unknown(call)),
    }
    world.change_policy(&session.account, &name, Some(policy), false);
    Ok(done(call))
}

/// The policy that a call names.
pub(super) fn arn(call: &Call) -> &str {
    call.form.get("PolicyArn").map(String::as_str).unwrap_or_default()
}

/// A parameter; empty: it is not there.
pub(super) fn form<'a>(call: &'a Call, name: &str) -> &'a str {
    call.form.get(name).map(String::as_str).unwrap_or_default()
}

/// The partition of the caller's account.
pub(super) fn partition<'a>(world: &'a World, session: &Session) -> &'a str {
    world.organization_of(&session.account).map_or("aws", |found| found.partition.as_str())
}

pub(super) fn missing(call: &Call) -> Refusal {
    let message = format!("Policy {} does not exist or is not attachable.", arn(call));
    Refusal::new(404, "NoSuchEntity", message)
}

/// An answer that says nothing.
pub(super) fn done(call: &Call) -> Answer {
    let mut xml = Xml::default();
    xml.element(&format!("{}Response", call.operation), |xml| {
        xml.element("ResponseMetadata", |xml| {
            xml.text("RequestId", "req-sim");
        });
    });
    Answer::xml(xml)
}

/// An answer with a result.
pub(super) fn told(call: &Call, result: impl FnOnce(&mut Xml)) -> Answer {
    let mut xml = Xml::default();
    xml.element(&format!("{}Response", call.operation), |xml| {
        xml.element(&format!("{}Result", call.operation), result);
    });
    Answer::xml(xml)
}

fn create(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let path = Some(form(call, "Path")).filter(|path| !path.is_empty()).unwrap_or("/");
    let name = PolicyName::new(path, form(call, "PolicyName"));
    check_name(&name)?;
    check_document(form(call, "PolicyDocument"))?;
    let account = world.accounts.get(&session.account);
    // Names are told apart by neither path nor letter case.
    let is_taken = account.is_some_and(|account| {
        let seeded = account.things.iter().filter(|thing| thing.kind == Kind::IamPolicy);
        let ours = account.managed_policies.keys().map(|policy| &policy.name);
        let mut names = seeded.map(|thing| &thing.name).chain(ours);
        names.any(|taken| taken.eq_ignore_ascii_case(&name.name))
    });
    if is_taken {
        let message = format!(
            "A policy called {} already exists. Duplicate names are not allowed.",
            name.name
        );
        return Err(Refusal::new(409, "EntityAlreadyExists", message));
    }
    let mut policy = world.policy_or_new(&session.account, &name);
    form(call, "Description").clone_into(&mut policy.description);
    tags::put(&mut policy.tags, call);
    policy.add(form(call, "PolicyDocument"), true, world.clock.now());
    world.change_policy(&session.account, &name, Some(policy.clone()), false);
    let arn = name.arn(partition(world, session), &session.account);
    Ok(told(call, |xml| {
        xml.element("Policy", |xml| iam_policies_read::write(xml, &policy, &arn, (0, 0)));
    }))
}

fn check_name(policy: &PolicyName) -> Result<(), Refusal> {
    let is_named = (1..=NAME_CHARACTERS_MAX).contains(&policy.name.len())
        && policy.name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
    let path = &policy.path;
    let is_placed = path.starts_with('/')
        && path.ends_with('/')
        && path.len() <= 512
        && path.chars().all(|c| c.is_ascii_graphic() && c != '*');
    if is_named && is_placed {
        return Ok(());
    }
    let message =
        format!("The specified value for policyName or path is invalid: {path}{}", policy.name);
    Err(Refusal::new(400, "ValidationError", message))
}

fn check_document(document: &str) -> Result<(), Refusal> {
    if let Some(flaw) = grammar::flaw(document) {
        return Err(Refusal::new(400, "MalformedPolicyDocument", flaw));
    }
    if grammar::characters(document) > CHARACTERS_MAX {
        let message = format!("Cannot exceed quota for PolicySize: {CHARACTERS_MAX}");
        return Err(Refusal::new(409, "LimitExceeded", message));
    }
    Ok(())
}

fn add(
    world: &mut World,
    session: &Session,
    call: &Call,
    mut policy: ManagedPolicy,
) -> Result<Answer, Refusal> {
    check_document(form(call, "PolicyDocument"))?;
    if policy.versions.len() >= VERSIONS_MAX {
        let message = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.";
        return Err(Refusal::new(409, "LimitExceeded", message));
    }
    let is_default = form(call, "SetAsDefault") == "true";
    let id = policy.add(form(call, "PolicyDocument"), is_default, world.clock.now());
    let name = policy.name.clone();
    world.change_policy(&session.account, &name, Some(policy.clone()), false);
    Ok(told(call, |xml| {
        if let Some(version) = policy.version(&id) {
            iam_policies_read::write_version(xml, "PolicyVersion", (&policy, version), false);
        }
    }))
}

fn remove_version(policy: &mut ManagedPolicy, call: &Call) -> Result<(), Refusal> {
    let id = form(call, "VersionId");
    if policy.version(id).is_none() {
        return Err(missing_version(call));
    }
    if policy.default_version == id {
        let message = "Cannot delete the default version of a policy.";
        return Err(Refusal::new(409, "DeleteConflict", message));
    }
    policy.versions.retain(|version| version.id != id);
    Ok(())
}

pub(super) fn missing_version(call: &Call) -> Refusal {
    let message = format!(
        "Policy {} version {} does not exist or is not attachable.",
        arn(call),
        form(call, "VersionId")
    );
    Refusal::new(404, "NoSuchEntity", message)
}

/// A policy goes only when nothing has it, and it has nothing but its default version.
fn check_unused(
    world: &mut World,
    session: &Session,
    policy: &ManagedPolicy,
) -> Result<(), Refusal> {
    let message = if uses(world, session, &policy.name) != (0, 0) {
        "Cannot delete a policy attached to entities."
    } else if policy.versions.len() > 1 {
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."
    } else {
        return Ok(());
    };
    Err(Refusal::new(409, "DeleteConflict", message))
}

/// How many roles of permission sets have a policy attached now, and how many it bounds.
pub(super) fn uses(world: &mut World, session: &Session, policy: &PolicyName) -> (usize, usize) {
    let organization = world.organization_of(&session.account).map(|found| found.id.clone());
    let organization = organization.unwrap_or_default();
    world.settle(&organization);
    let found = world.organizations.get(&organization);
    found.map_or((0, 0), |found| found.directory.uses(&session.account, policy))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        assignment::{Assignment, Principal},
        services::tests::{MEMBER, ORGANIZATION, USERS, ask_iam, texts, world},
    };

    const DOCUMENT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::a/*~é"}]}"#;
    const ARN: &str = "arn:aws:iam::222222222222:policy/ours/ann";

    fn ask(
        world: &mut World,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, Refusal> {
        let arn: &[(&str, &str)] =
            if operation == "CreatePolicy" { &[] } else { &[("PolicyArn", ARN)] };
        ask_iam(world, MEMBER, operation, &[arn, parameters].concat())
    }

    fn made() -> World {
        let mut world = world();
        let parameters = [
            ("Path", "/ours/"),
            ("PolicyName", "ann"),
            ("PolicyDocument", DOCUMENT),
            ("Description", "Ann's"),
            ("Tags.member.1.Key", "by"),
            ("Tags.member.1.Value", "us"),
        ];
        let made = ask(&mut world, "CreatePolicy", &parameters).expect("a policy");
        assert_eq!(texts(&made, "Arn"), [ARN]);
        world
    }

    fn code(answer: Result<String, Refusal>) -> (u16, String) {
        let refusal = answer.expect_err("a refusal");
        (refusal.status, refusal.code)
    }

    fn add(world: &mut World, is_default: &str) -> Result<String, Refusal> {
        let parameters = [("PolicyDocument", DOCUMENT), ("SetAsDefault", is_default)];
        ask(world, "CreatePolicyVersion", &parameters)
    }

    #[test]
    fn a_policy_is_made_and_read() {
        let mut world = made();
        let read = ask(&mut world, "GetPolicy", &[]).expect("a policy");
        for (element, text) in [
            ("PolicyName", "ann"),
            ("Path", "/ours/"),
            ("DefaultVersionId", "v1"),
            ("AttachmentCount", "0"),
            ("Description", "Ann's"),
            ("Key", "by"),
            ("Value", "us"),
        ] {
            assert_eq!(texts(&read, element), [text], "{element}");
        }
        let version = ask(&mut world, "GetPolicyVersion", &[("VersionId", "v1")]).expect("one");
        let document = texts(&version, "Document")[0];
        assert!(
            document.ends_with("arn%3Aaws%3As3%3A%3A%3Aa%2F%2A~%C3%A9%22%7D%5D%7D"),
            "{document}"
        );
        assert!(document.starts_with("%7B%22Version%22%3A%222012-10-17%22"), "{document}");
        let details = ask(&mut world, "GetAccountAuthorizationDetails", &[]).expect("details");
        assert!(texts(&details, "Arn").contains(&ARN), "{details}");
        assert_eq!(texts(&details, "Document"), [document]);
    }

    #[test]
    fn what_iam_would_refuse_is_refused() {
        let mut world = made();
        let create = |world: &mut World, path: &str, name: &str, document: &str| {
            let parameters = [("Path", path), ("PolicyName", name), ("PolicyDocument", document)];
            ask(world, "CreatePolicy", &parameters).map_err(|refusal| refusal.code)
        };
        let long = DOCUMENT.replace("s3:GetObject", &"x".repeat(CHARACTERS_MAX));
        let spaced = DOCUMENT.replace(":{", &format!(": {}{{", " ".repeat(CHARACTERS_MAX)));
        for (path, name, document, code) in [
            ("/other/", "ANN", DOCUMENT, "EntityAlreadyExists"),
            ("/ours", "bob", DOCUMENT, "ValidationError"),
            ("/ours/", "bob!", DOCUMENT, "ValidationError"),
            ("/ours/", "bob", "{}", "MalformedPolicyDocument"),
            ("/ours/", "bob", &long, "LimitExceeded"),
        ] {
            let refused = create(&mut world, path, name, document);
            assert_eq!(refused.expect_err(code), code, "{path}{name}");
        }
        create(&mut world, "/", "bob", &spaced).expect("white space does not count");
        let other = "arn:aws:iam::111111111111:policy/ours/ann";
        for operation in ["GetPolicy", "DeletePolicy", "ListPolicyVersions", "TagPolicy"] {
            let refused = ask_iam(&mut world, MEMBER, operation, &[("PolicyArn", other)]);
            assert_eq!(code(refused), (404, "NoSuchEntity".to_owned()), "{operation}");
        }
        let refused = ask(&mut world, "GetPolicyVersion", &[("VersionId", "v9")]);
        assert_eq!(code(refused).1, "NoSuchEntity");
    }

    #[test]
    fn versions_are_five_and_their_ids_are_never_used_again() {
        let mut world = made();
        for number in 2..=VERSIONS_MAX {
            let is_default = if number == 3 { "true" } else { "false" };
            let added = add(&mut world, is_default).expect("a version");
            assert_eq!(texts(&added, "VersionId"), [format!("v{number}")]);
            assert_eq!(texts(&added, "IsDefaultVersion"), [is_default]);
        }
        assert_eq!(code(add(&mut world, "true")), (409, "LimitExceeded".to_owned()));
        let remove =
            |world: &mut World, id: &str| ask(world, "DeletePolicyVersion", &[("VersionId", id)]);
        assert_eq!(code(remove(&mut world, "v3")), (409, "DeleteConflict".to_owned()));
        assert_eq!(code(remove(&mut world, "v9")), (404, "NoSuchEntity".to_owned()));
        remove(&mut world, "v5").expect("it is removed");
        assert_eq!(texts(&add(&mut world, "true").expect("one"), "VersionId"), ["v6"]);

        let mut listed = Vec::new();
        let mut marker = String::new();
        loop {
            let asked: Vec<(&str, &str)> =
                [("Marker", marker.as_str())].into_iter().filter(|(_, m)| !m.is_empty()).collect();
            let page = ask(&mut world, "ListPolicyVersions", &asked).expect("a page");
            listed.extend(texts(&page, "VersionId").into_iter().map(str::to_owned));
            let next = texts(&page, "Marker");
            assert_eq!(texts(&page, "IsTruncated"), [(!next.is_empty()).to_string()]);
            let Some(next) = next.first() else { break };
            marker = (*next).to_owned();
        }
        assert_eq!(listed, ["v6", "v4", "v3", "v2", "v1"]);
        assert_eq!(world.policy_changes.len(), 1, "it says the same: {:?}", world.policy_changes);
    }

    #[test]
    fn a_policy_goes_only_when_nothing_has_it_and_it_has_one_version() {
        let mut world = made();
        let name = PolicyName::new("/ours/", "ann");
        let set = format!("ps-{:016x}", 1);
        let directory = &mut world.organizations.get_mut(ORGANIZATION).expect("one").directory;
        directory.permission_sets[1].customer_managed.push(name.clone());
        let (account, principal) = (MEMBER.to_owned(), Principal::User(USERS[1].to_owned()));
        let assignment = Assignment { account, permission_set: set, principal };
        world.assign(ORGANIZATION, assignment.clone());
        let read = ask(&mut world, "GetPolicy", &[]).expect("a policy");
        assert_eq!(texts(&read, "AttachmentCount"), ["1"]);
        add(&mut world, "true").expect("a version");
        assert_eq!(code(ask(&mut world, "DeletePolicy", &[])).1, "DeleteConflict");
        world.unassign(ORGANIZATION, &assignment);
        assert_eq!(code(ask(&mut world, "DeletePolicy", &[])).1, "DeleteConflict", "two versions");
        ask(&mut world, "DeletePolicyVersion", &[("VersionId", "v1")]).expect("it is removed");
        ask(&mut world, "DeletePolicy", &[]).expect("it is removed");
        assert_eq!(code(ask(&mut world, "GetPolicy", &[])).1, "NoSuchEntity");
        let told: Vec<_> = world
            .policy_changes
            .iter()
            .map(|one| (one.account.as_str(), &one.policy, one.document.is_some(), one.is_by_hand))
            .collect();
        assert_eq!(told, [(MEMBER, &name, true, false), (MEMBER, &name, false, false)]);
    }

    #[test]
    fn whoever_reads_sees_a_change_after_the_lag_and_whoever_writes_at_once() {
        let mut world = world();
        world.account(MEMBER).iam_lag = TimeDelta::seconds(10);
        let create = [("Path", "/ours/"), ("PolicyName", "ann"), ("PolicyDocument", DOCUMENT)];
        ask(&mut world, "CreatePolicy", &create).expect("a policy");
        assert_eq!(code(ask(&mut world, "CreatePolicy", &create)).1, "EntityAlreadyExists");
        assert_eq!(code(ask(&mut world, "GetPolicy", &[])).1, "NoSuchEntity");
        assert_eq!(texts(&add(&mut world, "true").expect("one"), "VersionId"), ["v2"]);
        world.clock.advance(TimeDelta::seconds(10));
        let read = ask(&mut world, "GetPolicy", &[]).expect("a policy");
        assert_eq!(texts(&read, "DefaultVersionId"), ["v2"]);
    }

    #[test]
    fn tags_come_and_go() {
        let mut world = made();
        let put = [("Tags.member.1.Key", "end"), ("Tags.member.1.Value", "soon")];
        ask(&mut world, "TagPolicy", &put).expect("a tag");
        ask(&mut world, "UntagPolicy", &[("TagKeys.member.1", "by")]).expect("none");
        let listed = ask(&mut world, "ListPolicyTags", &[]).expect("tags");
        assert_eq!((texts(&listed, "Key"), texts(&listed, "Value")), (vec!["end"], vec!["soon"]));
        assert_eq!(world.policy_changes.len(), 1, "it says the same");
    }
}
