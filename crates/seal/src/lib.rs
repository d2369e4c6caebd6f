//! The plaintext side: chunk, name, compress, seal, open, manifest
