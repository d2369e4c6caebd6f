//! The secret table that content-defined cuts are made with.
//!
//! FastCDC looks at two bytes at a time and so wants the table twice, the second time shifted left
//! by one. Both are derived from the vault's chunking key and are wiped when the last chunker that
//! shares them is gone.

use core::fmt;
use std::sync::Arc;
use zeroize::Zeroize;

/// 256 secret numbers, shared by every chunker of a vault.
#[derive(Clone)]
pub struct GearTable(Arc<Gear>);

struct Gear {
    plain: Box<[u64; 256]>,
    shifted: Box<[u64; 256]>,
}

impl GearTable {
    pub fn new(plain: Box<[u64; 256]>) -> Self {
        let mut shifted = plain.clone();
        shifted.iter_mut().for_each(|value| *value <<= 1);
        Self(Arc::new(Gear { plain, shifted }))
    }

    pub(super) fn plain(&self) -> &[u64; 256] {
        &self.0.plain
    }

    pub(super) fn shifted(&self) -> &[u64; 256] {
        &self.0.shifted
    }
}

impl Drop for Gear {
    fn drop(&mut self) {
        self.plain.zeroize();
        self.shifted.zeroize();
    }
}

impl fmt::Debug for GearTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GearTable(…)")
    }
}
