//! The page `docs/catalogue.md`, as the code says it.

use std::fmt::Write as _;

use connector::{access::mechanisms::MECHANISMS, catalog::COLLECTORS, model::scope::Reach};

/// The page.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# What is discovered\n\n`make catalogue` writes this page from the code; a test holds it. Every resource has an ARN, a name, tags, its account and its region; attributes that AWS does not\ntell are absent.\n",
    );
    let mut kinds: Vec<_> = COLLECTORS
        .iter()
        .flat_map(|collector| collector.types().iter().map(move |kind| (kind, collector)))
        .collect();
    kinds.sort_by_key(|(kind, _)| kind.id);
    for (kind, collector) in kinds {
        let reach = match collector.reach() {
            Reach::Organization => "once, from the management account",
            Reach::Account => "once in each account",
            Reach::Region => "in each region of each account",
        };
        let actions: Vec<String> =
            collector.iam_actions().iter().map(|action| format!("`{action}`")).collect();
        let _ = write!(
            page,
            "\n## {}: `{}`\n\nRead {reach} by the collector `{}`, with {}.\n\n| attribute | what it says |\n|---|---|\n",
            kind.display_name,
            kind.id,
            collector.name(),
            actions.join(", ")
        );
        for (name, says) in kind.attributes {
            let _ = writeln!(page, "| `{name}` | {says} |");
        }
        let permissions: Vec<String> = MECHANISMS
            .iter()
            .flat_map(|mechanism| {
                mechanism.permissions(kind.id).into_iter().map(move |one| {
                    let (form, what, name) = (one.form, one.description, mechanism.name());
                    let ends = if one.is_self_ending { "yes" } else { "no" };
                    format!("| `{form}` | {what} | `{name}` | {ends} |\n")
                })
            })
            .collect();
        if !permissions.is_empty() {
            page.push_str("\n| permission | what it allows | mechanism | ends by itself |\n|---|---|---|---|\n");
            page.push_str(&permissions.concat());
        }
    }
    page
}
