//! Tests of the door over raw sockets.
