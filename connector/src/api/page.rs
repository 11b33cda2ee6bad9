//! Pages: how many items, and where the next one begins.
//!
//! A token is the key of the last item, in hexadecimal, behind the name of its list,
//! so that a token of another list is refused.

use tonic::Status;

use super::status;

/// Items of a page when nothing is said.
const ITEMS_DEFAULT: i32 = 100;
/// Items of the largest page.
const ITEMS_MAX: i32 = 500;

/// Of tags and attributes in one message; gRPC takes 4 MiB.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// A checked page request.
#[derive(Debug)]
pub(super) struct Page {
    list: &'static str,
    /// Items to answer.
    items: usize,
    /// The key to begin behind; none: from the start.
    pub(super) after: Option<String>,
}

impl Page {
    /// Checks size and token.
    pub(super) fn parse(list: &'static str, size: i32, token: &str) -> Result<Self, Status> {
        let size = match size {
            0 => ITEMS_DEFAULT,
            1..=ITEMS_MAX => size,
            _ => {
                return Err(status::bad_request(
                    "page_size",
                    format!("is {size}; use 1 to {ITEMS_MAX}, or 0 for {ITEMS_DEFAULT}"),
                ));
            }
        };
        let after = if token.is_empty() { None } else { Some(decode(list, token)?) };
        Ok(Self { list, items: usize::try_from(size).unwrap_or_default(), after })
    }

    /// How many rows to ask for: one more than a page, to know whether it is the last.
    pub(super) fn limit(&self) -> i64 {
        i64::try_from(self.items).unwrap_or_default() + 1
    }

    /// Cuts the rows to a page, and makes the token of the next one.
    pub(super) fn cut<T>(&self, rows: &mut Vec<T>, key: impl Fn(&T) -> String) -> String {
        self.cut_at(self.items, rows, key)
    }

    /// The same, when a page is to hold only so many.
    pub(super) fn cut_at<T>(
        &self,
        items: usize,
        rows: &mut Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> String {
        let items = items.min(self.items);
        if rows.len() <= items {
            return String::new();
        }
        rows.truncate(items);
        rows.last()
            .map_or_else(String::new, |last| hex::encode(format!("{}:{}", self.list, key(last))))
    }
}

/// How many fit into one message, at least one.
pub(super) fn fitting<T>(items: &[T], size: impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0;
    let fits = items.iter().take_while(|item| {
        bytes += size(item);
        bytes <= MESSAGE_BYTES
    });
    fits.count().max(1)
}

/// The token's list is right, but not the place in it.
pub(super) fn damaged() -> Status {
    status::bad_request("page_token", "is damaged; use next_page_token of the page before")
}

fn decode(list: &str, token: &str) -> Result<String, Status> {
    let text = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.as_deref()
        .and_then(|text| text.strip_prefix(list)?.strip_prefix(':'))
        .filter(|key| !key.contains('\0'))
        .map(str::to_owned)
        .ok_or_else(|| {
            status::bad_request(
                "page_token",
                "is not a token of this list; use next_page_token of the page before",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_has_a_token_that_leads_behind_its_last_item() {
        let page = Page::parse("letters", 2, "").expect("a page");
        let mut rows = vec!["a", "b", "c"];
        let token = page.cut(&mut rows, |row| (*row).to_owned());
        assert_eq!(rows, ["a", "b"]);
        let next = Page::parse("letters", 2, &token).expect("a page");
        assert_eq!(next.after.as_deref(), Some("b"));
        assert!(Page::parse("numbers", 2, &token).is_err());
        let mut rest = vec!["c"];
        assert_eq!(next.cut(&mut rest, |row| (*row).to_owned()), "");
    }
}
