//! What a client of PostgreSQL says, heard for one thing: what it writes, and when that lasts.

use std::collections::HashMap;

/// What access is made of: whoever writes to it has an effect.
pub(super) const TABLES: [&str; 5] = ["grants", "units", "targets", "acts", "revoked_before"];
/// What `store::targets::lock` writes: of no account beside anything else.
const FENCE: &str = "fence target";

/// What a client's message asks of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing yet: more is to come.
    Part,
    /// An answer, and an effect, if this is one.
    Question(Option<String>),
    /// Nothing that is answered by itself.
    Aside,
}

/// What a client has said so far.
#[derive(Default)]
pub(super) struct Session {
    statements: HashMap<Vec<u8>, Statement>,
    portals: HashMap<Vec<u8>, Statement>,
    is_in_transaction: bool,
    /// What was written and does not last yet.
    writes: Vec<String>,
}

impl Session {
    /// Hears a message.
    pub(super) fn hear(&mut self, message: &[u8]) -> Heard {
        // What matters in all of them are one or two texts, each with a zero at its end.
        let mut texts = message.get(5..).unwrap_or_default().split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        let (first, second) = (text(), text());
        match message.first() {
            Some(b'P') => {
                self.statements.insert(first.to_vec(), Statement::read(second));
            }
            Some(b'B') => {
                let statement = self.statements.get(second).cloned().unwrap_or_default();
                self.portals.insert(first.to_vec(), statement);
            }
            Some(b'E') => self.run(self.portals.get(first).cloned().unwrap_or_default()),
            Some(b'C' | b'D') => {}
            Some(b'Q') => {
                self.run(Statement::read(first));
                return Heard::Question(self.effect());
            }
            Some(b'S') => return Heard::Question(self.effect()),
            Some(b'F') => return Heard::Question(None),
            Some(_) | None => return Heard::Aside,
        }
        Heard::Part
    }

    fn run(&mut self, statement: Statement) {
        match statement {
            Statement::Begin => self.is_in_transaction = true,
            Statement::Commit => self.is_in_transaction = false,
            Statement::Rollback => {
                self.is_in_transaction = false;
                self.writes.clear();
            }
            Statement::Writes(writes) => self.writes.extend(writes),
            Statement::Other => {}
        }
    }

    /// What lasts from now on.
    fn effect(&mut self) -> Option<String> {
        let lasts = !self.is_in_transaction && !self.writes.is_empty();
        lasts.then(|| label(&std::mem::take(&mut self.writes)))
    }
}

/// What a statement is to a transaction.
#[derive(Clone, Default)]
enum Statement {
    Begin,
    Commit,
    Rollback,
    Writes(Vec<String>),
    #[default]
    Other,
}

impl Statement {
    fn read(sql: &[u8]) -> Self {
        let sql = String::from_utf8_lossy(sql).to_ascii_lowercase();
        let is_apart = |character: char| character.is_whitespace() || "();".contains(character);
        let words: Vec<&str> = sql.split(is_apart).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["begin", ..] | ["start", "transaction", ..] => Self::Begin,
            ["commit" | "end", ..] => Self::Commit,
            ["rollback", "to", ..] => Self::Other,
            ["rollback" | "abort", ..] => Self::Rollback,
            words => Self::Writes((0..words.len()).filter_map(|at| write(&words[at..])).collect()),
        }
    }
}

/// What is written where these words of a statement begin.
fn write(words: &[&str]) -> Option<String> {
    let (verb, table) = match words {
        ["insert", "into", table, ..] => ("insert", table),
        ["update", table, ..] => ("update", table),
        ["delete", "from", table, ..] => ("delete", table),
        _ => return None,
    };
    let table = table.strip_prefix("connector.").filter(|table| TABLES.contains(table))?;
    let column = words.iter().skip_while(|word| **word != "set").nth(1).copied();
    Some(match (verb, table, column) {
        ("update", "targets", Some("origin")) => "write target".to_owned(),
        ("update", "targets", Some("fence")) => FENCE.to_owned(),
        ("update", "targets", Some("next_at")) => "wake targets".to_owned(),
        _ => format!("{verb} {table}"),
    })
}

/// The label of an effect, by what it writes.
fn label(writes: &[String]) -> String {
    let words = writes.iter().map(String::as_str).filter(|write| *write != FENCE);
    let mut words: Vec<&str> = words.collect();
    words.dedup();
    let words = if words.is_empty() { FENCE.to_owned() } else { words.join(", ") };
    format!("commit: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, texts: &[&str]) -> Vec<u8> {
        let body: String = texts.iter().flat_map(|text| [text, "\0"]).collect();
        let length = u32::try_from(body.len() + 4).expect("a short one").to_be_bytes();
        [&[kind], length.as_slice(), body.as_bytes()].concat()
    }

    #[test]
    fn the_commit_of_a_transaction_that_wrote_is_an_effect_and_nothing_else_is() {
        let undone =
            ["BEGIN ISOLATION LEVEL READ COMMITTED", "DELETE FROM connector.acts", "ROLLBACK"];
        let elsewhere = [
            "SELECT id FROM connector.targets FOR UPDATE",
            "UPDATE connector.syncs SET state = $1 FROM connector.grants",
        ];
        let written = [
            "BEGIN",
            "UPDATE connector.targets SET fence = $3",
            "UPDATE connector.targets\n         SET origin = $3, next_at = $14",
            "UPDATE connector.units u\n SET state = $5 FROM connector.grants g",
            "INSERT INTO connector.acts (verb) VALUES ($1)",
            "INSERT INTO connector.acts(verb) VALUES ($1)",
            "COMMIT",
        ];
        let label = "commit: write target, update units, insert acts";
        let mut session = Session::default();
        let all = [&undone[..], &elsewhere, &written, &["COMMIT"]].concat();
        let heard = all.iter().map(|sql| session.hear(&message(b'Q', &[sql])));
        let effects: Vec<_> = heard.filter(|heard| *heard != Heard::Question(None)).collect();
        assert_eq!(effects, [Heard::Question(Some(label.to_owned()))]);
    }

    #[test]
    fn a_prepared_write_outside_a_transaction_is_an_effect_at_its_sync() {
        let mut session = Session::default();
        let wake = "UPDATE connector.targets t SET next_at = now() FROM held";
        let effect = Some("commit: wake targets".to_owned());
        for (kind, texts, heard) in [
            (b'P', ["s1", wake].as_slice(), Heard::Part),
            (b'S', &[], Heard::Question(None)),
            (b'B', &["", "s1"], Heard::Part),
            (b'E', &[""], Heard::Part),
            (b'S', &[], Heard::Question(effect)),
            (b'S', &[], Heard::Question(None)),
        ] {
            assert_eq!(session.hear(&message(kind, texts)), heard);
        }
    }
}
