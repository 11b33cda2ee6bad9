//! Text as AWS really holds it: UTF-16 code units, which need not be characters.

use std::fmt::Write as _;

/// A text that may hold U+0000 and halves of surrogate pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Vec<u16>);

impl Text {
    /// From code units.
    #[must_use]
    pub fn of_units(units: &[u16]) -> Self {
        Self(units.to_vec())
    }

    /// As XML character data.
    #[must_use]
    pub fn xml(&self) -> String {
        self.write(|out, unit| {
            let _ = write!(out, "&#x{unit:X};");
        })
        .replace('<', "&lt;")
        .replace('>', "&gt;")
    }

    /// As a JSON string, quotes included.
    #[must_use]
    pub fn json(&self) -> String {
        let body = self.write(|out, unit| {
            let _ = write!(out, "\\u{unit:04x}");
        });
        format!("\"{body}\"")
    }

    /// As it is, if it is all characters; for people.
    #[must_use]
    pub fn lossy(&self) -> String {
        String::from_utf16_lossy(&self.0)
    }

    fn write(&self, escape: impl Fn(&mut String, u16)) -> String {
        let mut out = String::new();
        for decoded in char::decode_utf16(self.0.iter().copied()) {
            match decoded {
                Ok(c) if c.is_control() || c == '"' || c == '\\' || c == '&' => {
                    escape(&mut out, c as u16);
                }
                Ok(c) => out.push(c),
                Err(lone) => escape(&mut out, lone.unpaired_surrogate()),
            }
        }
        out
    }
}

impl<T: AsRef<str>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(text.as_ref().encode_utf16().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_character_is_written_as_a_reference() {
        let text = Text::of_units(&[0x61, 0, 0xd800, 0x26]);
        assert_eq!(text.xml(), "a&#x0;&#xD800;&#x26;");
        assert_eq!(text.json(), "\"a\\u0000\\ud800\\u0026\"");
    }
}
