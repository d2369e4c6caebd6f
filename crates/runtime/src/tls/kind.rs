//! Kinds of connection, never mixed: bulk data would delay heartbeats behind it.
//!
//! Windows belong to the receiver: the server's bound uploads, the client's bound restores. Those
//! of data are wide enough for a distant region at full speed and are the most that a connection
//! may hold in memory; a server's are smaller, for it has many. Whoever is not known yet gets just
//! enough to introduce itself. Every connection is probed while idle; on the server it ends
//! gracefully after a while, so that its peer comes back with the certificate it has by then.

use core::time::Duration;
use holdfast_common::limits;
use tonic::transport::{Endpoint, Server};

/// A server for strangers: short calls, small windows, and not for long.
pub fn stranger_server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_TIMEOUT))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(limits::STRANGER_STREAMS_MAX)
        .http2_max_header_list_size(limits::HTTP_HEADER_BYTES_MAX)
        .initial_stream_window_size(limits::STRANGER_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::STRANGER_CONNECTION_WINDOW_BYTES)
        .timeout(Duration::from_secs(limits::STRANGER_SECS_MAX))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    Control,
    Data,
    /// From one member to another: one that died without a word must not outlast elections by far.
    Peer,
}

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(limits::KEEPALIVE_INTERVAL_SECS);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(limits::KEEPALIVE_TIMEOUT_SECS);

const PEER_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(limits::PEER_KEEPALIVE_INTERVAL_SECS);
const PEER_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(limits::PEER_KEEPALIVE_TIMEOUT_SECS);

impl ChannelKind {
    /// A server for connections of this kind; services are added by the caller.
    pub fn server(self) -> Server {
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
            .http2_max_header_list_size(limits::HTTP_HEADER_BYTES_MAX)
            .max_connection_age(Duration::from_secs(limits::CONNECTION_AGE_SECS));
        match self {
            Self::Control | Self::Peer => server,
            Self::Data => server
                .initial_stream_window_size(limits::SERVER_STREAM_WINDOW_BYTES)
                .initial_connection_window_size(limits::SERVER_CONNECTION_WINDOW_BYTES)
                .max_frame_size(limits::DATA_HTTP_FRAME_BYTES),
        }
    }

    pub(super) fn endpoint(self, endpoint: Endpoint) -> Endpoint {
        let endpoint = endpoint
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        match self {
            Self::Control => endpoint,
            Self::Peer => endpoint
                .http2_keep_alive_interval(PEER_KEEPALIVE_INTERVAL)
                .keep_alive_timeout(PEER_KEEPALIVE_TIMEOUT),
            Self::Data => endpoint
                .initial_stream_window_size(limits::DATA_STREAM_WINDOW_BYTES)
                .initial_connection_window_size(limits::DATA_CONNECTION_WINDOW_BYTES)
                .max_frame_size(limits::DATA_HTTP_FRAME_BYTES),
        }
    }
}
