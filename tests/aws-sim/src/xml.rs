//! Writes XML answers.

use serde_json::Value;

/// An XML document that is being written.
#[derive(Debug, Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// An element with children.
    pub(crate) fn element(&mut self, name: &str, children: impl FnOnce(&mut Self)) -> &mut Self {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
        children(self);
        self.close(name)
    }

    /// An element with text.
    pub(crate) fn text(&mut self, name: &str, text: impl AsRef<str>) -> &mut Self {
        let escaped = text.as_ref().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.raw(name, &escaped)
    }

    /// An element with text that is escaped already.
    pub(crate) fn raw(&mut self, name: &str, escaped: &str) -> &mut Self {
        self.element(name, |xml| xml.0.push_str(escaped))
    }

    /// The fields of a JSON object: a list becomes the same element again and again.
    pub(crate) fn fields(&mut self, fields: &Value) {
        for (name, value) in fields.as_object().into_iter().flatten() {
            self.field(name, value);
        }
    }

    fn field(&mut self, name: &str, value: &Value) {
        match value {
            Value::Array(items) => {
                for item in items {
                    self.field(name, item);
                }
            }
            Value::Object(_) => {
                self.element(name, |xml| xml.fields(value));
            }
            Value::String(text) => {
                self.text(name, text);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.text(name, value.to_string());
            }
        }
    }

    fn close(&mut self, name: &str) -> &mut Self {
        // Attributes stand in the opening tag alone.
        let name = name.split(' ').next().unwrap_or(name);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        self
    }

    /// The document.
    pub(crate) fn finish(self) -> Vec<u8> {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{}", self.0).into_bytes()
    }
}
