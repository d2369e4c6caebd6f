//! Keys: KEK providers, vault keys, capsules, identities, the recovery bundle
