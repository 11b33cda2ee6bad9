//! The page about what is discovered says what the code does.

use std::fs;

use super::{catalogue_page::page, files::top};

#[test]
fn the_page_about_the_catalogue_is_what_the_code_says() {
    let written = fs::read_to_string(top().join("docs/catalogue.md")).unwrap_or_default();
    assert!(written == page(), "docs/catalogue.md is old; `make catalogue` writes it");
}

#[test]
fn every_attribute_says_what_it_is() {
    for kind in connector::catalog::COLLECTORS.iter().flat_map(|collector| collector.types()) {
        let names: Vec<&str> = kind.attributes.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted(), "the attributes of {} are sorted: {names:?}", kind.id);
        for (name, says) in kind.attributes {
            let is_sentence = says.ends_with('.') || says.ends_with('…');
            assert!(is_sentence && says.len() > 5, "{} of {}: {says:?}", name, kind.id);
        }
    }
}

#[test]
fn what_makes_no_history_is_an_attribute() {
    let types = connector::catalog::COLLECTORS.iter().flat_map(|collector| collector.types());
    let names: Vec<&str> = types.flat_map(|kind| kind.attributes).map(|(name, _)| *name).collect();
    for name in connector::model::history::OF_USE {
        assert!(names.contains(&name), "{name} is no attribute");
    }
}
