//! How keys reach a restore: sealed to a one-time key that was made for it and dies with it.
//!
//! ```text
//!   restorer: OneTimeKey ── public ──► custodian: GrantSender::open_to(public, context)
//!   restorer: GrantReceiver ◄── opening ── … then per chunk: mask(id, key) ──► unmask(id)
//! ```
//!
//! One encapsulation carries a session secret, and each chunk key travels under that, bound to its
//! chunk's id: thousands of keys cost one key exchange. The context names the run and the point;
//! what was granted for one opens nothing under another.

use crate::{
    ChunkKey, aead,
    suite::{self, ENCAPSULATED_BYTES},
};
use holdfast_common::{ChunkId, Code, Entropy, Error, Result, Secret};
use zeroize::Zeroizing;

/// The restorer's half; it never leaves the process and is never stored.
#[derive(Debug)]
pub struct OneTimeKey {
    secret: Secret<32>,
    public: [u8; 32],
}

impl OneTimeKey {
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let (secret, public) = suite::generate(entropy);
        Self { secret, public }
    }

    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.open_as(SINGLE_CONTEXT, context, sealed)
    }

    /// Begins to receive chunk keys from the custodian who sent this opening.
    pub fn receive(&self, context: &[u8], opening: &[u8]) -> Result<GrantReceiver> {
        let secret = self.open_as(SESSION_CONTEXT, context, opening)?;
        Secret::from_slice(&secret).map(GrantReceiver).ok_or_else(|| {
            Error::new(Code::RecordMalformed, "the opening of a grant holds no session secret")
        })
    }

    fn open_as(&self, purpose: &[u8], context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (encapsulated, sealed) = sealed
            .split_first_chunk::<ENCAPSULATED_BYTES>()
            .ok_or_else(|| Error::new(Code::RecordMalformed, "a sealed grant is too short"))?;
        suite::open(&self.secret, &info(purpose, context), b"", encapsulated, sealed)
    }
}

/// Seals one thing to a one-time key: `encapsulated key ‖ ciphertext`.
pub fn seal_to(
    public: &[u8; 32],
    context: &[u8],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    seal_as(SINGLE_CONTEXT, public, context, plaintext, entropy)
}

/// The custodian's half of one grant.
#[derive(Debug)]
pub struct GrantSender(Secret<32>);

impl GrantSender {
    /// Draws a session secret and seals it to the restorer: the sender, and the opening to send.
    pub fn open_to(
        public: &[u8; 32],
        context: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<(Self, Vec<u8>)> {
        let secret = Secret::<32>::random(entropy);
        let opening = seal_as(SESSION_CONTEXT, public, context, secret.expose(), entropy)?;
        Ok((Self(secret), opening))
    }

    pub fn mask(&self, id: &ChunkId, key: &ChunkKey, entropy: &dyn Entropy) -> Vec<u8> {
        aead::seal(self.0.expose(), id.as_bytes(), key.expose(), entropy)
    }
}

/// The restorer's half of one grant.
#[derive(Debug)]
pub struct GrantReceiver(Secret<32>);

impl GrantReceiver {
    pub fn unmask(&self, id: &ChunkId, masked: &[u8]) -> Result<ChunkKey> {
        ChunkKey::from_slice(&aead::open_wiped(self.0.expose(), id.as_bytes(), masked)?)
    }
}

fn seal_as(
    purpose: &[u8],
    public: &[u8; 32],
    context: &[u8],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    let (encapsulated, sealed) =
        suite::seal(public, &info(purpose, context), b"", plaintext, entropy)?;
    Ok([encapsulated.as_slice(), &sealed].concat())
}

/// Both purposes have one length, so that no context makes one look like the other.
fn info(purpose: &[u8], context: &[u8]) -> Vec<u8> {
    [purpose, context].concat()
}

const SESSION_CONTEXT: &[u8] = b"holdfast grant session v1";
const SINGLE_CONTEXT: &[u8] = b"holdfast grant single  v1";
const _: () = assert!(SESSION_CONTEXT.len() == SINGLE_CONTEXT.len());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;
    use proptest::prelude::*;

    fn id(byte: u8) -> ChunkId {
        ChunkId::from_bytes([byte; 32])
    }

    fn chunk_key(byte: u8) -> ChunkKey {
        ChunkKey::from_slice(&[byte; 32]).unwrap()
    }

    #[test]
    fn what_is_sealed_to_a_one_time_key_opens_there_in_its_context() {
        let key = OneTimeKey::generate(&Seeded::new(1));
        let sealed = seal_to(&key.public(), b"run 1", b"secret", &Seeded::new(2)).unwrap();
        assert_eq!(&**key.open(b"run 1", &sealed).unwrap(), b"secret");
        assert_eq!(key.open(b"run 2", &sealed).unwrap_err().code, Code::KeyWrong);
        let other = OneTimeKey::generate(&Seeded::new(3));
        assert_eq!(other.open(b"run 1", &sealed).unwrap_err().code, Code::KeyWrong);
    }

    #[test]
    fn truncated_and_flipped_grants_are_refused() {
        let key = OneTimeKey::generate(&Seeded::new(1));
        let sealed = seal_to(&key.public(), b"run 1", b"secret", &Seeded::new(2)).unwrap();
        for length in 0..sealed.len() {
            assert!(key.open(b"run 1", &sealed[..length]).is_err(), "length {length}");
        }
        for byte in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[byte] ^= 1;
            assert!(key.open(b"run 1", &bad).is_err(), "byte {byte}");
        }
    }

    #[test]
    fn a_session_carries_many_chunk_keys_each_bound_to_its_chunk() {
        let key = OneTimeKey::generate(&Seeded::new(1));
        let entropy = Seeded::new(2);
        let (sender, opening) = GrantSender::open_to(&key.public(), b"run", &entropy).unwrap();
        let receiver = key.receive(b"run", &opening).unwrap();
        for byte in 0..100 {
            let masked = sender.mask(&id(byte), &chunk_key(byte), &entropy);
            assert_eq!(receiver.unmask(&id(byte), &masked).unwrap().expose(), &[byte; 32]);
            let swapped = receiver.unmask(&id(byte + 1), &masked).unwrap_err();
            assert_eq!(swapped.code, Code::KeyWrong);
        }
    }

    #[test]
    fn an_opening_serves_one_run_one_receiver_and_one_purpose() {
        let key = OneTimeKey::generate(&Seeded::new(1));
        let entropy = Seeded::new(2);
        let (sender, opening) = GrantSender::open_to(&key.public(), b"run", &entropy).unwrap();
        assert!(key.receive(b"other run", &opening).is_err());
        assert!(OneTimeKey::generate(&Seeded::new(3)).receive(b"run", &opening).is_err());
        assert!(key.open(b"run", &opening).is_err(), "an opening is no single grant");
        let (_, second) = GrantSender::open_to(&key.public(), b"run", &entropy).unwrap();
        let masked = sender.mask(&id(1), &chunk_key(1), &entropy);
        assert!(key.receive(b"run", &second).unwrap().unmask(&id(1), &masked).is_err());
    }

    #[test]
    fn no_half_of_a_grant_is_printed() {
        let key = OneTimeKey::generate(&Seeded::new(1));
        assert!(format!("{key:?}").contains("secret: Secret<32>(…)"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_bytes_never_open_and_never_panic(bytes: Vec<u8>) {
            let key = OneTimeKey::generate(&Seeded::new(1));
            prop_assert!(key.open(b"", &bytes).is_err());
            prop_assert!(key.receive(b"", &bytes).is_err());
        }
    }
}
