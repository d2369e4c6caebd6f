//! What a join token says before anybody is asked: whose cluster it is of.

use super::Fingerprint;
use holdfast_common::{Code, Error, Result};

/// The fingerprint at the end of `hf1-<secret>-<pin>`.
pub fn pin_of(token: &str) -> Result<Fingerprint> {
    let malformed = || {
        Error::new(Code::UsageMalformed, "the text is not a join token").next(
            "a token is one line of `holdfast agent token` or `holdfast cluster token`; \
             copy it whole",
        )
    };
    let mut parts = token.split('-');
    match [parts.next(), parts.next(), parts.next(), parts.next()] {
        [Some("hf1"), Some(secret), Some(pin), None] if secret.len() == SECRET_CHARACTERS => {
            pin.parse().map_err(|_| malformed())
        }
        _ => Err(malformed()),
    }
}

const SECRET_CHARACTERS: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_authority_to_believe() {
        let pin = Fingerprint::from_bytes([0xab; 32]);
        let token = format!("hf1-{}-{pin}", "0".repeat(48));
        assert_eq!(pin_of(&token).unwrap(), pin);
    }

    #[test]
    fn what_is_not_a_token_is_refused_before_anything_is_sent() {
        let (secret, pin) = ("0".repeat(48), "ab".repeat(32));
        for bad in [
            String::new(),
            format!("hf2-{secret}-{pin}"),
            format!("hf1-{secret}"),
            format!("hf1-{secret}-{pin}-x"),
            format!("hf1-{}-{pin}", &secret[1..]),
            format!("hf1-{secret}-{}", &pin[1..]),
            format!("hf1-{secret}-{}", pin.to_uppercase()),
        ] {
            assert_eq!(pin_of(&bad).unwrap_err().code, Code::UsageMalformed, "{bad}");
        }
    }
}
