//! Rules of the house that no compiler knows: floors, words, sizes, templates.

mod files;
mod floors;
mod templates;
