//! The messages between processes, parsed at the door
