//! Text that cannot be stored as it is.
//!
//! Tags may hold U+0000, which PostgreSQL refuses, and halves of UTF-16 surrogate
//! pairs, which are no characters at all and which the SDK refuses together with
//! the whole answer. Neither may cost a page of resources. So an answer's body is
//! rewritten before the SDK reads it: such a code unit becomes `␚` (U+241A, the
//! picture of SUBSTITUTE) and its four hexadecimal digits; `␚` itself becomes
//! `␚241a`, so nothing is lost.

use std::borrow::Cow;

const MARK: &str = "\u{241a}";

/// Rewrites the body of a JSON answer.
#[must_use]
pub fn storable_json(body: &[u8]) -> Cow<'_, [u8]> {
    let suspicious = contains(body, b"\\u0000")
        || contains(body, b"\\ud")
        || contains(body, b"\\uD")
        || contains(body, b"\\u241")
        || contains(body, MARK.as_bytes());
    if !suspicious {
        return Cow::Borrowed(body);
    }
    let mut out = Vec::with_capacity(body.len() + 32);
    let mut at = 0;
    while at < body.len() {
        let rest = &body[at..];
        if let Some(unit) = json_unit(rest) {
            let low = json_unit(rest.get(6..).unwrap_or_default());
            let is_pair = is_high(unit) && low.is_some_and(is_low);
            if is_pair {
                out.extend_from_slice(&rest[..12]);
                at += 12;
                continue;
            }
            if needs_mark(unit) {
                push_mark(&mut out, unit);
            } else {
                out.extend_from_slice(&rest[..6]);
            }
            at += 6;
        } else if rest[0] == b'\\' && rest.len() > 1 {
            out.extend_from_slice(&rest[..2]);
            at += 2;
        } else {
            at += push_raw(&mut out, rest);
        }
    }
    Cow::Owned(out)
}

/// Rewrites the body of an XML answer.
#[must_use]
pub fn storable_xml(body: &[u8]) -> Cow<'_, [u8]> {
    let suspicious = contains(body, b"&#") || body.contains(&0) || contains(body, MARK.as_bytes());
    if !suspicious {
        return Cow::Borrowed(body);
    }
    let mut out = Vec::with_capacity(body.len() + 32);
    let mut at = 0;
    while at < body.len() {
        let rest = &body[at..];
        if let Some((unit, length)) = xml_reference(rest) {
            if needs_mark(unit) {
                push_mark(&mut out, unit);
            } else {
                out.extend_from_slice(&rest[..length]);
            }
            at += length;
        } else {
            at += push_raw(&mut out, rest);
        }
    }
    Cow::Owned(out)
}

fn needs_mark(unit: u16) -> bool {
    unit == 0 || unit == 0x241a || is_high(unit) || is_low(unit)
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

fn push_mark(out: &mut Vec<u8>, unit: u16) {
    out.extend_from_slice(format!("{MARK}{unit:04x}").as_bytes());
}

/// Copies one byte, or rewrites a raw U+0000 or `␚`; returns how much was read.
fn push_raw(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    if rest[0] == 0 {
        push_mark(out, 0);
        1
    } else if rest.starts_with(MARK.as_bytes()) {
        push_mark(out, 0x241a);
        MARK.len()
    } else {
        out.push(rest[0]);
        1
    }
}

/// The code unit of a `\uXXXX` at the start.
fn json_unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The code unit of a `&#…;` or `&#x…;` at the start, with its length in bytes.
fn xml_reference(rest: &[u8]) -> Option<(u16, usize)> {
    let digits = rest.strip_prefix(b"&#")?;
    let end = digits.iter().take(8).position(|byte| *byte == b';')?;
    let text = std::str::from_utf8(&digits[..end]).ok()?;
    let unit = match text.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u16::from_str_radix(hexadecimal, 16).ok()?,
        None => text.parse().ok()?,
    };
    Some((unit, end + 3))
}

fn contains(body: &[u8], needle: &[u8]) -> bool {
    body.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> String {
        String::from_utf8(storable_json(body.as_bytes()).into_owned()).expect("UTF-8")
    }

    fn xml(body: &str) -> String {
        String::from_utf8(storable_xml(body.as_bytes()).into_owned()).expect("UTF-8")
    }

    #[test]
    fn nul_and_lone_surrogates_are_marked_and_pairs_are_left() {
        assert_eq!(json(r#"{"a":"x\u0000y"}"#), r#"{"a":"x␚0000y"}"#);
        assert_eq!(json(r#""\ud83d\ude00 \ud83d""#), r#""\ud83d\ude00 ␚d83d""#);
        assert_eq!(json(r#""\udc00\uD800""#), r#""␚dc00␚d800""#);
        assert_eq!(xml("<v>a&#0;b&#xD800;&#x1F600;&#10;</v>"), "<v>a␚0000b␚d800&#x1F600;&#10;</v>");
        assert_eq!(xml("<v>\0</v>"), "<v>␚0000</v>");
    }

    #[test]
    fn an_escaped_backslash_before_u_is_no_escape() {
        assert_eq!(json(r#""\\ud800""#), r#""\\ud800""#);
    }

    #[test]
    fn the_mark_itself_is_marked_so_that_nothing_is_lost() {
        assert_eq!(json(r#""␚0000 \u241A""#), r#""␚241a0000 ␚241a""#);
        assert_eq!(xml("<v>␚</v>"), "<v>␚241a</v>");
    }
}
