//! What every process needs: identity, TLS, telemetry, supervised tasks
