//! What every command is given besides its own arguments: how to answer, who is asking, and
//! whether the answer to "are you sure" is known already.

use crate::{client::Client, output::Output};
use holdfast_common::{Code, Error, Result};
use std::path::{Path, PathBuf};

pub struct Demand<'a> {
    pub output: &'a Output,
    pub context: Option<PathBuf>,
    pub yes: bool,
    /// True for what ends by itself when a signal comes: services drain.
    pub drains: bool,
}

impl Demand<'_> {
    /// The context file that was named. There is no default: a command that changes things must
    /// not find a cluster by accident.
    pub fn context(&self) -> Result<&Path> {
        self.context.as_deref().ok_or_else(|| {
            Error::new(Code::ContextMissing, "no context file says where the cluster is")
                .next("name one with --context FILE or HOLDFAST_CONTEXT")
        })
    }

    pub async fn client(&self) -> Result<Client> {
        Client::open(self.context()?).await
    }
}
