//! The replicated truth: commands, apply, queries, tables
