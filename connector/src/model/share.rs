//! What holders put into an object that they share, such as statements in a policy.

/// What is in an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// There is nothing in it that could be otherwise: it is there, or it is not.
    #[default]
    None,
    /// What should be in it, and nothing else.
    Current,
    /// Something else.
    Stale,
}

/// The shares in an object, as they were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// All of them together.
    pub content: Content,
    /// The holders, by their place in the list, whose share is not in it as it should be.
    pub lacking: Vec<usize>,
}
