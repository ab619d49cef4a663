//! Every bound of the gateway in one place.

// --- http ---

/// Header lines of one message.
pub const HEADERS: usize = 100;
/// One message head, from its start line to the empty line, in bytes.
pub const HEAD_BYTES: usize = 64 * 1024;
/// One request target, in bytes; longer is answered 414.
pub const URI_BYTES: usize = 8 * 1024;
/// One header line without its CRLF, in bytes; longer is answered 431.
pub const HEADER_BYTES: usize = 8 * 1024;
/// One method, in bytes.
pub const METHOD_BYTES: usize = 32;
/// Members of all `Connection` fields of one message.
pub const CONNECTION_OPTIONS: usize = 16;
/// Interim (1xx) responses to one request.
pub const INTERIM_RESPONSES: usize = 8;
/// Largest Content-Length, in bytes: what every JSON and JavaScript peer can still count exactly.
pub const CONTENT_LENGTH: u64 = 1 << 53;
