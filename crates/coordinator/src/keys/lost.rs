//! What is said to whoever stands before a coordinator that does not open: which way there still
//! is, and what is gone where there is none.

use crate::options::Options;
use holdfast_common::{Code, Error};

/// A coordinator whose KEK is not where it should be, or is another one.
pub(crate) fn without_kek(error: Error, config: &Options) -> Error {
    if !matches!(error.code, Code::KekUnavailable | Code::KeyWrong) {
        return error;
    }
    let file = config.file.display();
    error.next(format!(
        "bring the KEK back to where {file} names it, from another coordinator of the cluster too; \
         if it is lost, a bundle opens everything: holdfast keys import BUNDLE --config {file} \
         --kek file:NEW; where several coordinators vote, holdfast cluster recover --from LOCATION \
         --bundle BUNDLE instead; if no bundle is left either, nobody can open what was backed \
         up, and it is gone"
    ))
}
