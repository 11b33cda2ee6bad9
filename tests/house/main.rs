//! Rules of the house that no compiler knows: floors, words, sizes, templates.

mod catalogue;
mod catalogue_page;
mod files;
mod floors;
mod permissions;
mod permissions_page;
mod templates;
