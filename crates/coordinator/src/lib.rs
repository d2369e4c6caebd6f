//! The brain: raft, pki, api, ingest, catalog, jobs
