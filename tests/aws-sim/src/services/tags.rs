//! Tags that come with a call.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{request::Call, text::Text};

/// Key and value of each tag, in the call's order.
pub(crate) fn given(call: &Call) -> Vec<(String, String)> {
    let form = |at: usize, part: &str| call.form.get(&format!("Tags.member.{at}.{part}")).cloned();
    let of_form =
        (1..).map_while(|at| Some((form(at, "Key")?, form(at, "Value").unwrap_or_default())));
    let of_json = call.json["Tags"].as_array().into_iter().flatten().filter_map(|tag| {
        let text = |part: &str| tag[part].as_str().map(str::to_owned);
        Some((text("Key")?, text("Value").unwrap_or_default()))
    });
    of_form.chain(of_json).collect()
}

/// Keys of tags that are to go.
pub(super) fn keys(call: &Call) -> Vec<String> {
    let of_form = call.members("TagKeys.member").into_iter().map(str::to_owned);
    let of_json = call.json["TagKeys"].as_array().into_iter().flatten();
    of_form.chain(of_json.filter_map(Value::as_str).map(str::to_owned)).collect()
}

/// Adds the tags of a call, in the place of those with the same keys.
pub(super) fn put(tags: &mut BTreeMap<Text, Text>, call: &Call) {
    tags.extend(given(call).iter().map(|(key, value)| (Text::from(key), Text::from(value))));
}

/// Takes away the tags whose keys a call names.
pub(super) fn remove(tags: &mut BTreeMap<Text, Text>, call: &Call) {
    for key in keys(call) {
        tags.remove(&Text::from(key));
    }
}
