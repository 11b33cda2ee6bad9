//! Prints the page about what is discovered; `make catalogue` keeps it.

#[path = "../../tests/house/catalogue_page.rs"]
mod catalogue_page;

fn main() {
    print!("{}", catalogue_page::page());
}
