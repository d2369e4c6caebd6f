//! Real processes of the `holdfast` binary, driven as people and scripts drive it.
//!
//! Nothing is here: the tests are in `tests/all`, one file per theme. They rely on what
//! `docs/command-line.md` promises and on nothing else: arguments, exit codes, stdout, files. Build
//! the binary first (`cargo build -p holdfast-cli`), or name one with `HOLDFAST_BINARY`.
