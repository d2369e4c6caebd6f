# The targets people type. Checks never write; fixes do. Every target does its own set-up and says
# what it installs; what is there already is left alone.
SHELL := /bin/bash
export CARGO_TERM_COLOR ?= auto

.PHONY: help build check fix test demo bench bench-ledger bench-copies bench-collection bench-memory setup torture

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup:
	@.ci/setup

build: setup ## the holdfast binary, for trying things out: target/debug/holdfast
	cargo build --locked -p holdfast-cli

check: setup ## format, lints, crate arrows, sizes, licences; reads only
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	python3 .ci/house_test.py --quiet
	python3 .ci/house.py

fix: setup ## format, and what the linter can mend by itself
	cargo fmt --all
	cargo clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged

# Mounts, owners and devices are root's: whoever is not runs the tests, and only them, through sudo.
ifneq ($(shell id -u),0)
test: export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER ?= sudo -E
test: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER ?= sudo -E
endif
# Process tests wait more than they compute.
test: export RUST_TEST_THREADS ?= 3
test: build ## unit, property and process tests
	@.ci/setup test
	cargo test --locked --workspace --quiet

demo: build ## the whole story on made-up data, in about a minute
	cargo run --locked --quiet -p holdfast-cli -- demo

torture: setup ## the long rest: [SEED=number] [ONLY=kill,cuts,simulation,members,copies,fuzz,versions,broken], see docs/torture.md
	@SEED=$(SEED) ONLY=$(ONLY) tests/torture

PEERS ?= restic,borg,rustic
BENCH_OPTIONS ?=
bench: setup ## side by side with PEERS=restic,borg,rustic into bench/RESULTS.md; takes long
	@bench/setup $(PEERS)
	cargo build --locked --release -p holdfast-cli -p holdfast-bench
	target/release/holdfast-bench run --peers $(PEERS) $(BENCH_OPTIONS)

LEDGER_OPTIONS ?= --rounds 2 --counts 500,4000,10000
ROWS_OPTIONS ?=
bench-ledger: setup ## clusters of three beside etcd, a member with a million rows, in half an hour: bench/LEDGER.md
	@bench/setup etcd
	cargo build --locked --release -p holdfast-cli -p holdfast-bench
	target/release/holdfast-bench ledger $(LEDGER_OPTIONS)
	target/release/holdfast-bench ledger-rows $(ROWS_OPTIONS)

bench-copies: setup ## what a location that follows, a second required one and a bucket cost: bench/COPIES.md
	@.ci/setup test
	cargo build --locked --release -p holdfast-cli -p holdfast-bench
	target/release/holdfast-bench copies

CHUNKS ?= 10000000
POINTS ?= 1000
COLLECTION_OPTIONS ?=
bench-collection: setup ## rounds of collection in a vault of CHUNKS in POINTS, beside restic's and rustic's prune: bench/COLLECTION.md
	@bench/setup restic,rustic
	cargo build --locked --release -p holdfast-cli -p holdfast-bench
	target/release/holdfast-bench collection --chunks $(CHUNKS) --points $(POINTS) $(COLLECTION_OPTIONS)

bench-memory: setup ## Holdfast's memory at 1 and 10 times the data and at 1,000,000 files: bench/MEMORY.md
	cargo build --locked --release -p holdfast-cli -p holdfast-bench
	target/release/holdfast-bench memory
