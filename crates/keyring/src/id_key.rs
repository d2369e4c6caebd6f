//! Keys that name chunks, and the key that cuts them.
//!
//! An id is a keyed hash: without the id-key nobody can test a guess against it. Data and pages
//! have id spaces of their own. With `sharing = agent` every agent names chunks under a key derived
//! for it alone, so that junk offered under an honest id of another agent hits nothing.

use crate::derive::{derive, derive_into};
use holdfast_common::{AgentId, ChunkId, ChunkKind, Secret};
use zeroize::Zeroizing;

/// The vault's id-key. Agents get it only where the vault says `sharing = vault`.
#[derive(Debug)]
pub struct RootIdKey(Secret<32>);

impl RootIdKey {
    pub fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// The id-key of one agent (`sharing = agent`).
    pub fn for_agent(&self, agent: &AgentId) -> IdKey {
        IdKey::from_secret(derive(AGENT_CONTEXT, &[self.0.expose(), agent.as_bytes()]))
    }

    /// The id-key that all members share (`sharing = vault`).
    pub fn shared(&self) -> IdKey {
        IdKey::from_secret(self.0.duplicate())
    }
}

/// The id-key in use by an agent, with the two keys that follow from it.
#[derive(Debug)]
pub struct IdKey {
    root: Secret<32>,
    data: Secret<32>,
    page: Secret<32>,
}

impl IdKey {
    pub fn from_secret(secret: Secret<32>) -> Self {
        let data = derive(DATA_CONTEXT, &[secret.expose()]);
        let page = derive(PAGE_CONTEXT, &[secret.expose()]);
        Self { root: secret, data, page }
    }

    /// What is sent to an agent when it is given this key.
    pub fn secret(&self) -> &Secret<32> {
        &self.root
    }

    pub fn duplicate(&self) -> Self {
        Self {
            root: self.root.duplicate(),
            data: self.data.duplicate(),
            page: self.page.duplicate(),
        }
    }

    pub fn data_id(&self, plaintext: &[u8]) -> ChunkId {
        mac(&self.data, plaintext)
    }

    pub fn page_id(&self, plaintext: &[u8]) -> ChunkId {
        mac(&self.page, plaintext)
    }

    pub fn id(&self, kind: ChunkKind, plaintext: &[u8]) -> ChunkId {
        match kind {
            ChunkKind::Data => self.data_id(plaintext),
            ChunkKind::Page => self.page_id(plaintext),
        }
    }

    /// Decides where a manifest is cut into pages: the low 8 bytes of the path's keyed hash.
    pub fn page_cut_hash(&self, path: &[u8]) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *mac(&self.page, path).as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Decides where content is cut into chunks; outsiders cannot compute the cuts.
#[derive(Debug)]
pub struct ChunkingKey(Secret<32>);

impl ChunkingKey {
    pub fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    pub fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }

    /// The full secret table of FastCDC: a seed alone would be no defence.
    pub fn gear_table(&self) -> Box<[u64; 256]> {
        let mut bytes = Zeroizing::new([0; 256 * 8]);
        derive_into(GEAR_CONTEXT, &[self.0.expose()], bytes.as_mut_slice());
        let mut table = Box::new([0; 256]);
        for (gear, word) in table.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *gear = u64::from_le_bytes(*word);
        }
        table
    }
}

fn mac(key: &Secret<32>, message: &[u8]) -> ChunkId {
    ChunkId::from_bytes(*blake3::keyed_hash(key.expose(), message).as_bytes())
}

const AGENT_CONTEXT: &str = "holdfast 2026 agent id-key v1";
const DATA_CONTEXT: &str = "holdfast 2026 data id v1";
const GEAR_CONTEXT: &str = "holdfast 2026 gear v1";
const PAGE_CONTEXT: &str = "holdfast 2026 page id v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> RootIdKey {
        RootIdKey::from_secret(Secret::take(&mut [1; 32]))
    }

    #[test]
    fn ids_are_the_keyed_hash_under_the_derived_key() {
        let data_key = blake3::derive_key("holdfast 2026 data id v1", &[1; 32]);
        let expected = *blake3::keyed_hash(&data_key, b"x").as_bytes();
        assert_eq!(root().shared().data_id(b"x").as_bytes(), &expected);
        let page_key = blake3::derive_key("holdfast 2026 page id v1", &[1; 32]);
        let expected = *blake3::keyed_hash(&page_key, b"x").as_bytes();
        assert_eq!(root().shared().id(ChunkKind::Page, b"x").as_bytes(), &expected);
        let low = u64::from_le_bytes(expected[..8].try_into().unwrap());
        assert_eq!(root().shared().page_cut_hash(b"x"), low);
    }

    #[test]
    fn an_agents_key_is_derived_from_the_root_and_its_id() {
        let agent = AgentId::from_bytes([2; 16]);
        let material = [[1u8; 32].as_slice(), &[2; 16]].concat();
        let expected = blake3::derive_key("holdfast 2026 agent id-key v1", &material);
        assert_eq!(root().for_agent(&agent).secret().expose(), &expected);
    }

    #[test]
    fn agents_kinds_and_the_shared_key_name_the_same_bytes_differently() {
        let a = root().for_agent(&AgentId::from_bytes([2; 16]));
        let b = root().for_agent(&AgentId::from_bytes([3; 16]));
        let ids = [
            a.data_id(b"x"),
            a.page_id(b"x"),
            b.data_id(b"x"),
            b.page_id(b"x"),
            root().shared().data_id(b"x"),
        ];
        for (i, left) in ids.iter().enumerate() {
            assert!(!ids[i + 1..].contains(left), "{left} twice");
        }
        assert_eq!(a.duplicate().data_id(b"x"), a.data_id(b"x"));
    }

    #[test]
    fn the_gear_table_is_the_extended_output_and_belongs_to_its_key() {
        let table = ChunkingKey::from_secret(Secret::take(&mut [4; 32])).gear_table();
        let mut bytes = [0; 2048];
        let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026 gear v1");
        hasher.update(&[4; 32]).finalize_xof().fill(&mut bytes);
        assert_eq!(table[0], u64::from_le_bytes(bytes[..8].try_into().unwrap()));
        assert_eq!(table[255], u64::from_le_bytes(bytes[2040..].try_into().unwrap()));
        let other = ChunkingKey::from_secret(Secret::take(&mut [5; 32])).gear_table();
        assert!(table.iter().zip(other.iter()).all(|(a, b)| a != b));
    }

    #[test]
    fn no_key_is_printed() {
        let shown = format!("{:?} {:?}", root(), root().shared());
        assert!(shown.contains('…') && !shown.contains('1'), "{shown}");
    }
}
