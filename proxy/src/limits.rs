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
/// Extensions of one chunk, in bytes.
pub const CHUNK_EXTENSION_BYTES: usize = 256;
/// Bytes of chunk framing that any chunked body may have ...
pub const CHUNK_OVERHEAD_BYTES: u64 = 16 * 1024;
/// ... and how many more each byte of payload earns. One-byte chunks need 5.
pub const CHUNK_OVERHEAD_RATIO: u64 = 8;
/// Trailer lines of one chunked body.
pub const TRAILERS: usize = 32;
/// All trailer lines of one chunked body, in bytes.
pub const TRAILER_BYTES: usize = 8 * 1024;

/// Bytes of the table that a peer's compressed heads may refer to.
pub const H2_TABLE_BYTES: usize = 4096;
/// Frames that continue one compressed head.
pub const H2_CONTINUATIONS: usize = 8;
/// Streams of one HTTP/2 connection that are at work at once, those that were reset meanwhile among them.
pub const H2_STREAMS: u32 = 100;
/// Bytes that a peer may send on one stream before it was read, ...
pub const H2_STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// ... and on all streams of a client's connection together. An upstream's streams belong to different clients, of which
/// none may hold the others: it may send all of them.
pub const H2_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of a connection that may wait to be sent before bodies wait, ...
pub const H2_OUT_BYTES: usize = 64 * 1024;
/// ... and before a peer that asks for answers without reading them is let go.
pub const H2_OUT_MOST_BYTES: usize = 1024 * 1024;
/// Streams that a client may reset, or be reset for its own fault, at once ...
pub const H2_RESETS: u32 = 1000;
/// ... and more with each second.
pub const H2_RESETS_PER_S: u32 = 33;
/// Frames that ask for something and carry nothing (SETTINGS, PING, PRIORITY, empty DATA, window updates) at once, ...
pub const H2_CHATTER: u32 = 4000;
/// ... more with each second, ...
pub const H2_CHATTER_PER_S: u32 = 200;
/// ... with each stream, ...
pub const H2_CHATTER_PER_STREAM: u32 = 4;
/// ... and with each DATA frame that a peer gets.
pub const H2_CHATTER_PER_DATA: u32 = 4;
/// Streams of ours that are remembered when they are no more: the peer may not know yet.
pub const H2_FORGOTTEN: usize = 128;
/// Unused pieces of memory that a connection keeps for its next streams.
pub const H2_SPARE: usize = 16;
/// Milliseconds for which requests wait for a server to say how many streams it takes, before they open connections of
/// their own.
pub const H2_SETTINGS_MS: u64 = 1000;
/// How often a request waits for a connection that another opens, before it opens its own.
pub const H2_WAITS: u32 = 2;
/// Milliseconds that a client gets to answer the first goodbye, and in which its requests are still taken.
pub const H2_GOODBYE_MS: u64 = 1000;
/// Streams that an upstream connection opens in its life, times two.
pub const H2_LAST_STREAM: u32 = 1 << 30;

// --- worker ---

/// Submission entries of a ring.
pub const RING_ENTRIES: u32 = 4096;
/// Completion entries of a ring.
pub const RING_COMPLETIONS: u32 = 16_384;
/// Granularity of deadlines, in milliseconds.
pub const TICK_MS: u64 = 25;
/// Bytes of a buffer from the pool.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Bytes of the buffer for a body whose sender fills a common one with each read.
pub const BUFFER_LARGE_BYTES: usize = 64 * 1024;
/// Buffers that grew beyond this are not kept.
pub const BUFFER_KEPT_BYTES: usize = 32 * 1024;
/// Bytes that are encrypted, and sent, at a time. A TLS session takes 64 KiB at most.
pub const TLS_PIECE_BYTES: usize = 32 * 1024;
/// Unused buffers that a worker keeps.
pub const BUFFERS_SPARE: usize = 1024;
/// A buffer with less room is enlarged before it is read into.
pub const READ_BYTES_MIN: usize = 4 * 1024;
/// Bytes of a body that are on their way through a pipe at most.
pub const SPLICE_BYTES: usize = 128 * 1024;
/// A body with less left is copied: a pipe would cost more.
pub const SPLICE_LEAST_BYTES: u64 = 64 * 1024;
/// Unused pipes that a worker keeps.
pub const PIPES_SPARE: usize = 64;
/// Connections that may wait to be accepted, for each worker.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Reads and writes of one task in a row, none of which waited, before the others run.
pub const TURN_OPERATIONS: u32 = 64;
/// Milliseconds that it pauses then.
pub const TURN_PAUSE_MS: u64 = 1;
/// Connections that a worker takes from a queue before the others have their turn.
pub const ACCEPTED_AT_ONCE: usize = 32;
/// Pause when the process is out of descriptors, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Paths of Unix sockets that services and targets name in the process's lifetime.
pub const UNIX_PATHS: usize = 4096;
/// Pause until a Unix socket whose queue is full is asked again, in milliseconds.
pub const UNIX_QUEUE_PAUSE_MS: u64 = 5;

// --- admin ---

/// Request head on the admin socket, in bytes.
pub const ADMIN_HEAD_BYTES: usize = 16 * 1024;
/// Clients that the admin socket, and the metrics listener, serve at once; more are turned away.
pub const ADMIN_CLIENTS: usize = 64;

// --- upstream ---

/// Idle connections that a worker keeps to all upstreams together.
pub const UPSTREAM_IDLE: usize = 512;
/// Seconds that a connection may idle.
pub const UPSTREAM_IDLE_S: u64 = 60;
/// Idle connections that no worker keeps, and any may take ...
pub const UPSTREAM_PARKED: usize = 1024;
/// ... and how many of them serve the same requests: a worker that has none looks at so many places.
pub const UPSTREAM_PARKED_KEY: usize = 64;
/// Milliseconds after which a connection that idles is one that its worker does not need.
pub const UPSTREAM_SURPLUS_MS: u64 = 250;
/// Milliseconds between two looks of a worker for those ...
pub const UPSTREAM_PARK_MS: u64 = 100;
/// ... and how many of them it parks at a time.
pub const UPSTREAM_PARKED_AT_ONCE: usize = 16;
/// Looks of each worker in which all of them together have looked at every parked connection once.
pub const UPSTREAM_PARKED_LOOKS: usize = 10;
/// Milliseconds in which a server's tickets come behind a handshake, before a connection that nobody used is kept.
pub const TICKETS_MS: u64 = 500;
/// Tries beyond the first that a worker makes at once, whatever its retry budget.
pub const RETRIES_RESERVED: u32 = 100;
/// Requests that a connection serves.
pub const UPSTREAM_REQUESTS: u32 = 10_000;
/// Seconds that a request waits for the address of a name that nobody knows yet.
pub const RESOLVE_WAIT_S: u64 = 5;

// --- names ---

/// Names that are looked up at once; each takes a thread, started when it is first needed.
pub const RESOLVER_THREADS: usize = 16;
/// Seconds for all questions that one look-up takes.
pub const DNS_LOOKUP_S: u64 = 10;
/// Questions of one look-up: search list, types, aliases, the hosts that SRV records name.
pub const DNS_QUESTIONS: usize = 256;
/// Seconds that a server may take, unless `options timeout` of resolv.conf says otherwise, as in Kong.
pub const DNS_TRY_S: u64 = 2;
/// Seconds for which a server that did not answer is asked after the others.
pub const DNS_SERVER_PAUSE_S: u64 = 30;
/// Servers of resolv.conf.
pub const DNS_SERVERS: usize = 8;
/// Domains of the search list.
pub const DNS_SEARCH: usize = 6;
/// Largest datagram that servers are told we take, in bytes: what passes every path unfragmented (DNS Flag Day 2020).
pub const DNS_DATAGRAM_BYTES: u16 = 1232;
/// Aliases (CNAME) that lead from one name to its records.
pub const DNS_ALIASES: usize = 16;
/// Records of one answer that are used.
pub const DNS_RECORDS: usize = 256;
/// Least seconds that an answer is used without asking again, whatever its records say.
pub const DNS_TTL_MIN_S: u32 = 1;
/// Most seconds.
pub const DNS_TTL_MAX_S: u32 = 86_400;
/// Seconds after which an answer of the hosts file is looked up again.
pub const DNS_HOSTS_TTL_S: u32 = 30;
/// Most seconds that "no such name" is believed, as in Kong.
pub const DNS_NOT_FOUND_S: u32 = 30;
/// Seconds after a failed look-up until the next, as in Kong.
pub const DNS_FAILED_S: u32 = 1;
/// Seconds that an answer may be used after its time while servers fail, as in Kong.
pub const DNS_STALE_S: u32 = 3600;
/// Seconds since a name was last used in which it is kept fresh.
pub const DNS_IN_USE_S: u64 = 600;
/// Bytes of resolv.conf and of the hosts file that are read.
pub const DNS_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Seconds for which an address that failed is passed over while the name has others.
pub const ADDRESS_PAUSE_S: u64 = 10;

// --- balance ---

/// Seconds after which an observed latency counts for 1/e of what it was, as in Kong.
pub const LATENCY_DECAY_S: u32 = 10;
/// What each running exchange of a target with unknown latency is expected to wait, in milliseconds.
pub const LATENCY_UNKNOWN_MS: u32 = 1000;
/// What a failed try counts as, at least, in milliseconds.
pub const LATENCY_FAILED_MS: u64 = 5000;
/// Targets that one request remembers to have failed.
pub const TARGETS_TRIED: usize = 8;
/// An ejection is at most so many times as long as the first.
pub const EJECTION_TIMES: u64 = 10;
/// A request that waits for a target looks by itself after this long, in milliseconds: targets also get room by
/// becoming healthy, or by a reload, which call nobody.
pub const QUEUE_LOOK_MS: u64 = 250;
/// Probes of one upstream's targets in one state that run at once, however many an operator allows.
pub const PROBES: usize = 128;
/// Status line of a probe's answer, in bytes.
pub const PROBE_LINE_BYTES: usize = 4 * 1024;
/// Longest sleep of who probes, in seconds: within it a new epoch is noticed.
pub const PROBE_NAP_S: u64 = 1;

// --- downstream ---

/// Client connections of the process, over all workers.
pub const CONNECTIONS_MOST: usize = 1_000_000;
/// Client connections from one address of IPv4, or from one /64 of IPv6; 0 for as many as there are.
pub const CONNECTIONS_PER_ADDRESS: u32 = 0;

/// What follows the fixed part of a PROXY header (version 2), in bytes.
pub const PROXY_HEADER_BYTES: usize = 2048;
/// Seconds for a PROXY header.
pub const PROXY_HEADER_S: u64 = 5;

/// Seconds for a TLS handshake.
pub const TLS_HANDSHAKE_S: u64 = 5;
/// Seconds that a client connection may idle between two requests.
pub const CLIENT_IDLE_S: u64 = 60;
/// Requests that a client's connection carries, as in Kong's nginx.
pub const CLIENT_REQUESTS: u64 = 10_000;
/// Seconds after which a client's connection carries no further request, as in nginx.
pub const CLIENT_AGE_S: u64 = 3600;
/// Seconds from the first byte of a request head to its last.
pub const REQUEST_HEAD_S: u64 = 10;
/// Silent connections of a worker that may hold a buffer.
pub const IDLE_BUFFERS: usize = 1024;

/// Seconds for which a client that was refused may go on sending.
pub const LINGER_S: u64 = 5;
/// What it may send in that time, in bytes.
pub const LINGER_BYTES: usize = 4 * 1024 * 1024;

// --- stream ---

/// A TLS client's first message with the framing of its records, in bytes.
pub const CLIENT_HELLO_BYTES: usize = 16 * 1024;
/// Milliseconds that a relay pauses when a peer looks ready to take more and takes nothing.
pub const RELAY_PAUSE_MS: u64 = 10;
/// Tries of one session that are logged; further ones are only made.
pub const SESSION_TRIES: usize = 8;

// --- exchange ---

/// Unused exchange memories that a worker keeps.
pub const SCRATCHES_SPARE: usize = 1024;
/// A piece of exchange memory that grew beyond this is not kept, in bytes.
pub const SCRATCH_KEPT_BYTES: usize = 64 * 1024;
/// Milliseconds that an upstream may take before the gateway begins to watch whether the client is still there.
pub const CLIENT_WATCH_MS: u64 = 50;
/// Bytes behind a request that are read while it is answered, to see whether the client is still there.
pub const PIPELINED_BYTES: usize = 16 * 1024;
/// Request body that is read whole because a program or an edit needs it, in bytes.
pub const BODY_BYTES: usize = 8 * 1024 * 1024;
/// Request body that is read and thrown away to keep a connection after a refusal, in bytes.
pub const DRAIN_BYTES: u64 = 64 * 1024;
/// Seconds between two reads of a client's body.
pub const CLIENT_BODY_S: u64 = 60;
/// Bytes of its body that a client sends in each second that it is waited for, as in IIS and Kestrel, ...
pub const CLIENT_BODY_BYTES_PER_S: u64 = 240;
/// ... once it has been waited for so many seconds.
pub const CLIENT_BODY_GRACE_S: u64 = 10;
/// Seconds between two writes to a client.
pub const CLIENT_WRITE_S: u64 = 60;

// --- control ---

/// Milliseconds between two looks at the policy file.
pub const WATCH_MS: u64 = 500;
/// Seconds that the admin socket waits for a reload.
pub const RELOAD_S: u64 = 120;
/// Seconds that a process which takes over may need until it accepts connections.
pub const HAND_OVER_S: u64 = 300;
/// Milliseconds in which what still runs after the grace period of a drain is ended and logged.
pub const DRAIN_END_MS: u64 = 1000;
/// Seconds between two sweeps of idle upstream connections.
pub const SWEEP_S: u64 = 10;

// --- overload ---

/// Milliseconds by which a worker may be late all the time, unless the node file says otherwise.
pub const SHED_AFTER_MS: u32 = 500;
/// Milliseconds over which the least lateness counts.
pub const OVERLOAD_WINDOW_MS: u64 = 200;
/// Milliseconds between two looks at the process' memory.
pub const MEMORY_LOOK_MS: u64 = 100;
/// Looks between two times that workers give back what they keep, while memory is short.
pub const MEMORY_GIVE_BACK_LOOKS: u32 = 10;

// --- quota ---

/// Counters of the quota table when the node file does not say: 16 MiB once all of it is in use.
pub const QUOTA_COUNTERS: usize = 983_040;
/// Overflow counters: at most some three for each limit and window are ever in use.
pub const QUOTA_OVERFLOW_COUNTERS: usize = 61_440;
/// Callers that a policy knows from which on the whole quota table is in memory from the start, in huge pages: as many
/// as it has pages, each of which a key of theirs would use some day.
pub const QUOTA_KNOWN_CALLERS: usize = 4096;
/// Seconds that one worker's clock may be behind another's; beyond this the clock was set back.
pub const CLOCK_BEHIND_S: u32 = 60;
/// Seconds that a reservation may take and still be known in an overflow counter.
pub const RESERVATION_S: u32 = 86_400;
/// Budgets that one call is held against.
pub const BUDGETS: usize = 16;

// --- telemetry ---

/// Pairs of service and route that metrics tell apart; further ones are counted together. A power of 256.
pub const METRIC_ROUTES: usize = 65_536;
/// Consumers that metrics tell apart.
pub const METRIC_CONSUMERS: usize = 1 << 20;
/// Pairs of provider and model that metrics tell apart.
pub const METRIC_MODELS: usize = 4096;
/// Status codes that metrics tell apart on one route, those of the upstream and of the gateway each.
pub const METRIC_CODES: usize = 31;
/// Series with a consumer on one worker; what finds no room is counted together. A power of two.
pub const METRIC_CONSUMER_SERIES: usize = 32_768;
/// Log lines of one worker that may wait to be written; further ones are dropped and counted.
pub const LOG_LINES: usize = 4096;
/// A log line's memory that grew beyond this is not kept, in bytes.
pub const LOG_LINE_KEPT_BYTES: usize = 8 * 1024;
/// Log bytes that are written at once.
pub const LOG_WRITE_BYTES: usize = 256 * 1024;
/// Milliseconds that the log's writer gathers lines before it writes them.
pub const LOG_GATHER_MS: u64 = 5;
/// Log files of the process's lifetime.
pub const LOG_FILES: usize = 1024;
/// Header fields of a message that are logged: more than [`HEADERS`], for those that edits add.
pub const LOG_FIELDS: usize = 160;
/// Arguments of a query that are logged one by one, as in Kong.
pub const LOG_ARGUMENTS: usize = 100;

// --- ai ---

/// Longest server-sent event, in bytes of its whole frame. It bounds each line too.
pub const SSE_EVENT_BYTES: usize = 1 << 20;
/// A stream's buffers are given back to the allocator above this size when the stream ends.
pub const SSE_BUFFER_BYTES_KEPT: usize = 64 << 10;
/// Members of a request body's top level.
pub const AI_BODY_MEMBERS_MAX: usize = 256;
/// Longest model name, in bytes: it becomes a header, a label and a counter key.
pub const AI_MODEL_NAME_BYTES_MAX: usize = 256;
/// Largest `n` and `best_of` (OpenAI's own bound).
pub const AI_CHOICES_MAX: u64 = 128;
/// Largest output cap a request may name, in tokens: what fits the 32-bit integers of the upstreams.
pub const AI_OUTPUT_TOKENS_MAX: u64 = i32::MAX as u64;
/// Output cap of a call that names none, in tokens, where a budget must bound it.
pub const AI_OUTPUT_DEFAULT: u64 = 4096;
/// Largest single count believed from an upstream, in tokens. Above it the report is treated as absent.
pub const AI_TOKENS_REPORTED_MAX: u64 = 1 << 32;
/// Tokens that a chat template may add to a request.
pub const AI_TEMPLATE_TOKENS: u64 = 64;
/// Tokens that a chat template may add to each message.
pub const AI_MESSAGE_TOKENS: u64 = 16;
/// Tokens with which providers explain tools to a model, added once.
pub const AI_TOOLS_TOKENS: u64 = 512;
