//! `KDF(context, parts)` of the format: BLAKE3's key derivation, its result held as a secret.

use holdfast_common::Secret;

/// The context names one use in one version and is never used for another.
pub(crate) fn derive(context: &str, parts: &[&[u8]]) -> Secret<32> {
    hold(*hasher(context, parts).finalize().as_bytes())
}

/// The same, read on: as many bytes as are asked for.
pub(crate) fn derive_into(context: &str, parts: &[&[u8]], out: &mut [u8]) {
    hasher(context, parts).finalize_xof().fill(out);
}

fn hasher(context: &str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    hasher
}

/// An array that was a secret on its way to somewhere else.
pub(crate) fn hold(mut bytes: [u8; 32]) -> Secret<32> {
    Secret::take(&mut bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deriving_is_blake3s_own_derivation_of_the_parts_end_to_end() {
        let key = derive("holdfast test", &[b"ab", b"c"]);
        assert_eq!(key.expose(), &blake3::derive_key("holdfast test", b"abc"));
        let mut long = [0; 64];
        derive_into("holdfast test", &[b"abc"], &mut long);
        assert_eq!(&long[..32], key.expose(), "the first bytes read on are the key");
    }
}
