//! Prints the page about the calls that permissions allow; `make catalogue` keeps it.

#[path = "../../tests/house/permissions_page.rs"]
mod permissions_page;

fn main() {
    print!("{}", permissions_page::page());
}
