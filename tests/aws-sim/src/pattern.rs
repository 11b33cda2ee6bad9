//! Texts of policies that stand for others: wildcards, and variables such as `${aws:userid}`.
//!
//! What a variable stands for is taken as it is: a `*` in a tag's value is no wildcard. Source:
//! "IAM policy elements: Variables and tags" in the IAM user guide.

use crate::condition::Context;

/// Parts of an ARN, the last of which may have colons of its own.
const ARN_PARTS: usize = 6;

/// Where a text of a policy stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// What variables stand for.
    pub(crate) context: &'a Context,
    /// Whether the policy is of the version that has variables.
    pub(crate) has_variables: bool,
}

/// A text with wildcards.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Vec<Token>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Any run of characters.
    Run,
    /// Any character.
    One,
    /// This one.
    Just(char),
}

impl Pattern {
    /// Reads a pattern; none: it has a variable that stands for nothing.
    pub(crate) fn read(text: &str, scope: Scope<'_>) -> Option<Self> {
        let mut tokens = Vec::new();
        for (piece, is_plain) in pieces(text, scope)? {
            tokens.extend(piece.chars().map(|c| match c {
                '*' if is_plain => Token::Run,
                '?' if is_plain => Token::One,
                _ => Token::Just(c),
            }));
        }
        Some(Self(tokens))
    }

    /// Whether it is `*` alone.
    pub(crate) fn is_all(&self) -> bool {
        self.0 == [Token::Run]
    }

    /// Whether a text is as it says. Letter case counts.
    pub(crate) fn matches(&self, text: &str) -> bool {
        matches(&self.0, &text.chars().collect::<Vec<char>>())
    }

    /// The same of an ARN, each of its parts by itself: a wildcard ends at a colon, but in the last
    /// part.
    pub(crate) fn matches_arn(&self, arn: &str) -> bool {
        let mut wanted = self.0.splitn(ARN_PARTS, |token| *token == Token::Just(':'));
        let mut given = arn.splitn(ARN_PARTS, ':');
        (0..ARN_PARTS).all(|_| match (wanted.next(), given.next()) {
            (Some(wanted), Some(given)) => matches(wanted, &given.chars().collect::<Vec<char>>()),
            _ => false,
        })
    }
}

/// A text without wildcards, its variables replaced; none: one of them stands for nothing.
pub(crate) fn literal(text: &str, scope: Scope<'_>) -> Option<String> {
    Some(pieces(text, scope)?.into_iter().map(|(piece, _)| piece).collect())
}

/// The pieces of a text, and whether each is the policy's own; the others are what its variables
/// stand for.
fn pieces(text: &str, scope: Scope<'_>) -> Option<Vec<(String, bool)>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while scope.has_variables
        && let Some((before, after)) = rest.split_once("${")
    {
        let (name, after) = after.split_once('}')?;
        pieces.push((before.to_owned(), true));
        pieces.push((meant(name, scope.context)?, false));
        rest = after;
    }
    pieces.push((rest.to_owned(), true));
    Some(pieces)
}

/// What a variable stands for: the only value of its key, or its default.
fn meant(name: &str, context: &Context) -> Option<String> {
    if matches!(name, "*" | "?" | "$") {
        return Some(name.to_owned());
    }
    let (key, default) = name.split_once(',').unwrap_or((name, ""));
    match (context.get(key.trim()), default.trim()) {
        (Some([value]), _) => Some(value.clone()),
        (None, default) => Some(default.strip_prefix('\'')?.strip_suffix('\'').map(str::to_owned)?),
        (Some(_), _) => None,
    }
}

/// Steps back to the last run when a character is not as wanted.
fn matches(pattern: &[Token], text: &[char]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut run: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(Token::Run) => {
                run = Some((at, seen));
                at += 1;
                continue;
            }
            Some(Token::One) => {}
            Some(Token::Just(wanted)) if *wanted == text[seen] => {}
            Some(Token::Just(_)) | None => {
                let Some((began, taken)) = run else { return false };
                run = Some((began, taken + 1));
                (at, seen) = (began + 1, taken + 1);
                continue;
            }
        }
        at += 1;
        seen += 1;
    }
    pattern[at..].iter().all(|token| *token == Token::Run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str, context: &Context) -> Option<Pattern> {
        Pattern::read(text, Scope { context, has_variables: true })
    }

    #[test]
    fn wildcards_stand_for_characters_and_letter_case_counts() {
        let context = Context::default();
        for (pattern, text, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaxbxab", true),
            ("a", "A", false),
            ("", "a", false),
            ("*", "", true),
        ] {
            let read = reads(pattern, &context).expect("a pattern");
            assert_eq!(read.matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_wildcard_ends_at_the_colon_of_an_arn_but_in_its_last_part() {
        let context = Context::default();
        for (pattern, arn, expected) in [
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/x:y", true),
            ("arn:*:s3:::b", "arn:aws:s3:::b", true),
            ("arn:aws:*:b", "arn:aws:s3:::b", false),
            ("arn:aws:s3:::b", "arn:aws:s3:::bb", false),
        ] {
            let read = reads(pattern, &context).expect("a pattern");
            assert_eq!(read.matches_arn(arn), expected, "{pattern} {arn}");
        }
    }

    #[test]
    fn a_variable_stands_for_its_value_alone() {
        let context =
            Context::default().with("aws:userid", "AROA:ann*").with_all("aws:TagKeys", ["a", "b"]);
        let read = reads("x/${AWS:UserId}", &context).expect("a pattern");
        assert!(read.matches("x/AROA:ann*"));
        assert!(!read.matches("x/AROA:anna"), "no wildcard");
        for unknown in ["${aws:PrincipalTag/team}", "${aws:TagKeys}", "${aws:userid"] {
            assert!(reads(unknown, &context).is_none(), "{unknown}");
        }
        let default = reads("${aws:PrincipalTag/team, 'none'}", &context).expect("a pattern");
        assert!(default.matches("none"));
        let star = reads("a${*}", &context).expect("a pattern");
        assert!(star.matches("a*") && !star.matches("ab"));
        let old = Scope { context: &context, has_variables: false };
        let old = Pattern::read("${aws:userid}", old).expect("a pattern");
        assert!(old.matches("${aws:userid}"));
    }
}
