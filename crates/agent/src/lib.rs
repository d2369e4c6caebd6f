//! The hands on every host: sources, pipeline, restore
