//! Commands about keys, and commands as the lines of the file of frozen bytes.

use super::ids;
use holdfast_ledger::{Command, command::*, row::BundledKey};

/// All keys of the founded cluster under another KEK; of its one vault the given version.
pub(crate) fn rewrap_keys(version: u32) -> RewrapKeys {
    let key_object = vec![15].into();
    RewrapKeys {
        kek: [12; 16],
        ca_key_wrapped: vec![13].into(),
        recovery_key_wrapped: vec![14].into(),
        kek_derivation: Some(vec![16].into()),
        vaults: vec![RewrappedVault { vault: ids::vault(), version, key_object }],
        change: None,
    }
}

pub(crate) fn export_bundle(number: u8) -> ExportBundle {
    let keys = vec![BundledKey { vault: ids::vault(), version: 1 }];
    ExportBundle { bundle: [number; 32], keys, read_at: None }
}

pub(crate) fn line(name: &str, command: &Command) -> String {
    let bytes = holdfast_common::record::to_bytes(command);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {hex}")
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}
