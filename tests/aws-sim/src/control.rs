//! What another process may ask of the simulator, under `/_sim/`: the demo plants the
//! missing role with it, opens a shell, acts for somebody, and shows who has access, and who may do what.

use serde_json::{Value, json};

use crate::{answer::Answer, shell::Opening, trail::Deed, world::World};

/// Answers a control request.
#[must_use]
pub fn answer(world: &mut World, path: &str, body: &[u8]) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    match path {
        "/_sim/copy-role" => {
            let role = world
                .accounts
                .get(text("from"))
                .and_then(|account| account.roles.get(text("role")))
                .cloned();
            let found = role.is_some();
            if let (Some(role), Some(to)) = (role, world.accounts.get_mut(text("to"))) {
                to.roles.insert(role.name.clone(), role);
            }
            Answer::json(&json!({ "planted": found }))
        }
        "/_sim/access" => match world.access_by_name(text("user")) {
            Some(access) => {
                let access: Vec<Value> = access
                    .into_iter()
                    .map(|(account, set)| json!({ "account": account, "permission_set": set }))
                    .collect();
                Answer::json(&json!({ "access": access }))
            }
            None => missing("no such user"),
        },
        "/_sim/may" => {
            let (user, account) = (text("user"), text("account"));
            match world.may_by_name(user, account, text("action"), text("resource")) {
                Some(may) => Answer::json(&json!({ "may": may })),
                None => missing("no such user"),
            }
        }
        "/_sim/act" => {
            let deed =
                Deed { action: text("action"), resource: text("resource"), ..Deed::default() };
            let Some((organization, user)) = world.user_by_name(text("user")) else {
                return missing("no such user");
            };
            let whose = (organization.as_str(), user.as_str());
            Answer::json(&json!({ "allowed": world.act_as(whose, text("account"), deed) }))
        }
        "/_sim/open-shell" => {
            Answer::json(&json!({ "shell": open_shell(world, text("user"), text("instance")) }))
        }
        "/_sim/shells" => Answer::json(&json!({ "shells": world.open_shells(text("account")) })),
        _ => missing("no such request"),
    }
}

/// The id of the shell that somebody opens on an instance, told by its ARN.
fn open_shell(world: &mut World, user: &str, instance: &str) -> Option<String> {
    let (organization, user) = world.user_by_name(user)?;
    let parts: Vec<&str> = instance.split([':', '/']).collect();
    let [_, _, _, region, account, _, id] = parts.as_slice() else { return None };
    world.open_any_shell(Opening {
        organization: &organization,
        user: &user,
        account,
        region,
        instance: id,
        document: "",
    })
}

fn missing(error: &str) -> Answer {
    Answer { status: 404, ..Answer::json(&json!({ "error": error })) }
}
