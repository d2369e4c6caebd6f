//! Every parser, by name. A new parser is a line here, a body and its examples.

use holdfast_common::limits::{self, MIB};

use crate::{
    Parser, Refused,
    parsers::{
        agent, coordinator, identity, keys, ledger, manifest, members, messages, pack, point, seal,
        segment, words,
    },
};

macro_rules! parsers {
    ($($name:literal $body:path, $examples:path $(, holds $bytes:expr)?;)*) => {
        pub const PARSERS: &[Parser] = &[$(
            Parser {
                name: $name,
                body: $body as fn(&[u8]) -> Result<(), Refused>,
                examples: $examples,
                bytes_held_max: MIB $(+ $bytes)?,
            },
        )*];
    };
}

parsers! {
    "agent-toml" agent::agent_toml, agent::configs;
    "bundle" keys::bundle_file, keys::bundles;
    "bundle-contents" keys::bundle_contents, keys::bundles_opened;
    "cache" agent::cache, agent::caches;
    "cache-rows" agent::cache_rows, agent::rows_of_caches;
    "capsule" keys::capsule, keys::capsules;
    "certificate" identity::certificate, identity::certificates;
    "certificate-request" identity::certificate_request, identity::requests;
    "certificates-pem" identity::certificates_in_pem, identity::chains_in_pem;
    "cluster-key" keys::cluster_key, keys::cluster_keys;
    "coordinator-toml" coordinator::coordinator_toml, coordinator::configs;
    "epoch-claim" members::epoch_claim, members::epoch_claims;
    "epoch-claim-inside" members::epoch_claim_inside, members::epoch_claims_inside;
    "error-detail" messages::error_detail, messages::error_details;
    "extent-entries" coordinator::extent_entries, coordinator::extents_opened;
    "fields" messages::fields, messages::field_bytes;
    "fingerprint" words::fingerprint, words::fingerprints;
    "frame" seal::frame, seal::frames;
    "frame-inside" seal::frame_inside, seal::frame_insides, holds 3 * limits::CHUNK_BYTES_MAX;
    "grant" keys::granted, keys::grants;
    "id" words::id, words::ids;
    "identity" words::identity, words::identities;
    "identity-pem" keys::identity_pem, keys::identity_pems;
    "join-token" words::join_token, words::join_tokens;
    "kek-derivation" keys::kek_derivation, keys::kek_derivations;
    "kek-source" keys::kek_source, keys::kek_sources;
    "key-object" keys::key_object, keys::key_objects;
    "key-pem" identity::key_in_pem, identity::keys_in_pem;
    "ledger-command" ledger::command, ledger::commands;
    "ledger-envelope" ledger::envelope, ledger::envelopes;
    "ledger-reply" ledger::reply, ledger::replies;
    "ledger-row" ledger::row, ledger::rows;
    "location-url" words::location_url, words::location_urls;
    "log-entry" coordinator::log_entry, coordinator::log_entries;
    "log-extent" coordinator::log_extent, coordinator::log_extents;
    "manifest-diff" manifest::tree_pair, manifest::tree_pairs;
    "manifest-page" manifest::page, manifest::pages;
    "manifest-tree" manifest::tree, manifest::trees;
    "member-message" members::member_message, members::member_messages;
    "member-seed" members::member_seed, members::member_seeds;
    "message" messages::message, messages::messages;
    "name" words::name, words::names;
    "object-name" point::object_name, point::object_names;
    "operator-request" identity::operator_request, identity::operator_requests;
    "operator-toml" identity::operator_toml, identity::contexts;
    "pack" pack::pack, pack::packs;
    "pack-footer" pack::pack_footer, pack::pack_footers;
    "pack-header" pack::pack_header, pack::packs;
    "pack-trailer" pack::pack_trailer, pack::pack_trailers;
    "pattern" words::pattern, words::patterns;
    "point" point::point, point::points;
    "point-record" point::point_record, point::point_records;
    "promotion" members::promotion, members::promotions;
    "reach" point::reach, point::reaches;
    "resource" messages::resource, messages::resources;
    "restore-paths" agent::restore_paths, agent::lists_of_paths;
    "restore-report" agent::restore_report, agent::reports;
    "scrubbed-object" point::scrubbed_object, point::scrubbed_objects;
    "sealed-footer" keys::sealed_footer, keys::sealed_footers;
    "segment" segment::segment, segment::segments;
    "segment-header" segment::segment_header, segment::segments;
    "segment-rows" segment::segment_rows, segment::segment_tables;
    "skipped-page" manifest::skipped_page, manifest::skipped_pages;
    "snapshot" coordinator::snapshot, coordinator::snapshots;
    "snapshot-part" coordinator::snapshot_part, coordinator::snapshot_parts;
    "standing" members::standing, members::standings;
    "stored-name" words::stored_name, words::stored_names;
    "timestamp" words::timestamp, words::timestamps;
    "told-toml" agent::told_toml, agent::tolds;
    "vault-object" point::vault_object, point::vault_objects;
}

pub fn named(name: &str) -> Option<&'static Parser> {
    PARSERS.iter().find(|parser| parser.name == name)
}
