//! How fast organizations are crawled.

fn main() {}
