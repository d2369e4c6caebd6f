//! Secret bytes: wiped when dropped, compared in constant time by who needs it, never printed.

use crate::Entropy;
use core::fmt;
use zeroize::Zeroize;

/// `N` bytes that must not be seen. There is no `Clone`, no `Display`, no comparison on purpose;
/// a second owner is made in the open with [`Secret::duplicate`].
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Takes the bytes over and wipes the place they came from.
    pub fn take(bytes: &mut [u8; N]) -> Self {
        let secret = Self(Box::new(*bytes));
        bytes.zeroize();
        secret
    }

    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut secret = Self(Box::new([0; N]));
        entropy.fill(secret.0.as_mut_slice());
        secret
    }

    /// Copies a slice of exactly `N` bytes; `None` when it has another length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut copy: [u8; N] = bytes.try_into().ok()?;
        Some(Self::take(&mut copy))
    }

    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_a_secret_wipes_where_it_came_from() {
        let mut bytes = [9u8; 32];
        let secret = Secret::take(&mut bytes);
        assert_eq!(bytes, [0; 32]);
        assert_eq!(secret.expose(), &[9; 32]);
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::take(&mut [9u8; 4])), "Secret<4>(…)");
    }
}
