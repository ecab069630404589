"""Every limit of the format and of the library, in one place, with its unit.

Limits of the *format* are constants of block version 1: a block beyond one is malformed for everybody, for ever, so no
policy can change them. Limits of the *library* protect memory and time and may differ between releases.
"""

from __future__ import annotations

from typing import Final

# --- the format, version 1 ----------------------------------------------------------------------------------------

MAX_SEQ: Final = 2**40 - 1
"""Highest block number of a feed: a block a millisecond for 34 years. Leaves 23 bits of a row key for the feed."""

MAX_INT: Final = 2**63 - 1
"""Largest integer anywhere on the ledger (SQLite's and most languages' signed 64 bits)."""

MIN_INT: Final = -(2**63)

MAX_ENTRY_BYTES: Final = 32 * 1024
"""One entry's encoding. Larger things are blobs, referenced by their root."""

MAX_ENTRIES_PER_BLOCK: Final = 1024

MAX_BATCH_READINGS: Final = 64
"""Moments in one batch that a device signs: a minute of a monitor that measures each second."""

MAX_BATCH_SAMPLES: Final = 32
"""Samples of one moment in it."""

MAX_COUNTER: Final = 2**53 - 1
"""The highest counter of a device's batches: what every language can count."""

MAX_UPTIME_MS: Final = 2**53 - 1
"""The longest time since a device's start."""

MAX_BODY_BYTES: Final = 56 * 1024
"""Sum of a block's entry lengths: with its header and framing, a block fits one 64 KiB data frame."""

MAX_BLOCK_BYTES: Final = 62 * 1024
"""A whole encoded block: MAX_BODY_BYTES, at most 1,024 entry heads of 3 bytes, a header, and framing."""

MAX_HEADER_BYTES: Final = 1024
"""An encoded header: about 230 bytes, and 83 for each of at most 8 parents."""

MAX_PARENTS: Final = 8

SEGMENT_BLOCKS: Final = 64
"""A block whose seq is 63 modulo 64 must verify by its own signature, so that proofs and buffers stay bounded."""

MAX_FORK_PROOF_BYTES: Final = 2 * SEGMENT_BLOCKS * (MAX_HEADER_BYTES + 3) + 64
"""Two chains of at most 64 headers; about 600 bytes from an honest clone."""

MAX_DEPTH: Final = 16
"""Nesting of CBOR containers anywhere in the format."""

MAX_TYPE_CHARS: Final = 64
"""Length of an entry type's name."""

MAX_LABEL_CHARS: Final = 128
"""Length of a member's label or organisation."""

MAX_GOVERNORS: Final = 64
MAX_NOTARIES: Final = 64
MAX_ROLES: Final = 64
MAX_TYPES_PER_ROLE: Final = 256

MAX_SEALED_PER_ENTRY: Final = 240
"""Members to whom one entry seals a transport key: 27 KiB. A larger ledger takes several entries."""

MAX_GENESIS_BYTES: Final = 8 * 1024
"""A genesis document: 128 governors and notaries and a generous policy. It travels whole in a join reply."""

# --- the library --------------------------------------------------------------------------------------------------

IMPORT_BATCH_BLOCKS: Final = 1000
"""Blocks of one bulk-import transaction."""

WAITING_BLOCKS: Final = 1024
"""Blocks of authors not enrolled yet that one import keeps in memory until their enrolment arrives."""

WAITING_BYTES: Final = 8 * 1024 * 1024

MAX_KEY_FILE_BYTES: Final = 4096
MAX_COSE_BYTES: Final = 64 * 1024
"""A COSE_Sign1 that is read as a whole: a genesis, a request, another tool's message. Block headers are smaller."""

MAX_JOIN_BYTES: Final = 16 * 1024
"""A join request or reply, decoded."""

MAX_TRANSPORT_KEYS: Final = 8
"""Transport keys in one join reply: the current one and those that peers may still use."""

MAX_HELD_KEYS: Final = 16
"""Transport keys that a member uses: the one in use, and those under which members that missed one may speak."""

TRANSPORT_KEY_DAYS: Final = 31
"""Age of a transport key from which on a governor is reminded to replace it."""

MAX_URL_CHARS: Final = 256
"""The broker's address in a join reply, or several with blanks between them."""

BUNDLE_SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""One content-addressed part of a bundle: what is read into memory, or fetched again, at once."""

MAX_MANIFEST_BYTES: Final = 32 * 1024 * 1024

MAX_BUNDLE_SEGMENTS: Final = 2**17
"""Segments of one bundle: 1 TiB."""

MAX_BUNDLE_SPANS: Final = 2**18
"""Runs of blocks that a bundle's segments hold, at least one for each feed: a manifest of about 20 MB. An export that
would add more to a bundle writes it anew."""

# --- a bundle over HTTP -------------------------------------------------------------------------------------------

WEB_STALL_SECONDS: Final = 20.0
"""How long a web server may say nothing, while connecting and in the middle of a file."""

WEB_ANSWER_SECONDS: Final = 60.0
"""How long a file may take, whatever its size; each byte that comes gives the others more time."""

WEB_MIN_BYTES_PER_SECOND: Final = 4 * 1024
"""A server that is slower in the long run is given up: 35 minutes for a whole segment."""

WEB_ATTEMPTS: Final = 3
"""Times that a file is asked for when the connection breaks or the server is busy."""

WEB_PAUSE_SECONDS: Final = 1.0
"""Pause before the second attempt; doubled before each further one."""

WEB_REDIRECTS: Final = 5

# --- gossip -------------------------------------------------------------------------------------------------------

MAX_FRAME_BYTES: Final = 64 * 1024 + 256
"""A sealed frame: 64 KiB of plaintext and its seal."""

MAX_DATA_BYTES: Final = 64 * 1024
"""Whole blocks in one data frame."""

MAX_BEACON_BYTES: Final = 200
"""A sealed and signed beacon, whatever the number of feeds."""

MAX_QUERY_BYTES: Final = 6 * 1024
"""A sealed and signed query: 64 ranges with whole ids."""

BEACON_MIN_SECONDS: Final = 0.25
"""Shortest interval of the Trickle timer (RFC 6206 Imin): after a change, a peer hears of it this soon."""

BEACON_MAX_SECONDS: Final = 64.0
"""Longest interval of the Trickle timer (Imin doubled eight times): what being in sync costs."""

BEACON_REDUNDANCY: Final = 3
"""Equal beacons heard in an interval that make a node keep silent (RFC 6206 k)."""

MAX_PEERS: Final = 1024
"""Peers (a key and a boot) remembered; the one not heard for longest is forgotten first."""

MAX_BOOTS_PER_SENDER: Final = 4
"""Boots remembered of one key, so that one member cannot push all others out."""

MAX_STRANGERS: Final = 64
"""Peers whose enrolment has not arrived here: a newcomer's only sources, and anybody's who holds the transport key."""

COUNTER_WINDOW: Final = 1024
"""Counters of a sender's boot within which frames may overtake each other; older ones count as replays."""

SEEN_FRAMES: Final = 8192
"""Hashes of frames remembered, so that a repeated one costs a hash and no cipher."""

BAD_BLOCKS: Final = 4096
"""Hashes of blocks remembered as refused for good, so that they are not validated again."""

LEAVES_PER_PAGE: Final = 512
"""Feeds in one frame of leaves: 38 KiB at most, with full ids."""

MAX_LEAF_PAGES: Final = 128
"""Frames of leaves that answer one probe: 65,536 feeds. What is left differs still and is probed again."""

MAX_PROBES: Final = 4
"""Probes under way at once from one node."""

SHARED_BLOCKS_PER_LEAF: Final = 16
"""Blocks lacking for each feed that a probe has listed, from which on further peers are probed at once, so that they
share the load: what they list again is little beside what is lacking."""

MAX_PULLS: Final = 8
"""Pulls under way at once from one node."""

MAX_PULLS_PER_PEER: Final = 2

MAX_RUNS: Final = 2
"""Feeds of which a node keeps blocks of a segment, 4 MiB at most, until the one comes that vouches for them."""

RANGES_PER_WANT: Final = 64
"""Ranges asked for in one frame."""

MAX_EXCLUDED: Final = 16
"""Peers that one query excludes, since they claimed such ranges and did not deliver."""

PULL_FRAMES_MIN: Final = 2
"""Frames of credit for a peer that was never pulled from, or just failed."""

PULL_FRAMES_MAX: Final = 16
"""Frames of credit for a peer that delivers: 1 MiB under way; doubled from the minimum by each pull that completes."""

MAX_BRANCH_PULLS: Final = 2
"""Pulls of branches under way at once from one node, each of one feed."""

MAX_BRANCH_SOURCES: Final = 8
"""Peers remembered to hold other branches of one feed than we do."""

BRANCH_IDS_PER_REQUEST: Final = 4096
"""Branch blocks that one request says we hold: 32 KiB. Where there are more of a feed, the next request goes on."""

BRANCH_REQUEST_COST: Final = 10
"""What a request for branches takes of its sender's budget of requests: its answer is looked for block by block."""

QUERY_COST: Final = 25
"""What a query takes of its sender's budget of requests: its answer goes to all."""

MAX_INTERESTS: Final = 65_536
"""Feeds that a node knows it lacks blocks of; parked ones of unknown authors are counted apart, to the same bound."""

HOLE_PAUSE_SECONDS: Final = 60.0
"""Longest wait before the first peer is asked for entries that are hidden here, and between two peers asked. Doubled,
to HOLE_PAUSE_MAX_SECONDS, each time that every peer was asked for all of them in vain."""

HOLE_PAUSE_MAX_SECONDS: Final = 3600.0

HOLE_STREAK: Final = 16
"""Wants for hidden entries in a row that one peer gets, each having filled some, before it is another's turn."""

LIVE_FRAMES: Final = 1000
"""Live frames gathered for one import while frames are waiting."""

LIVE_BYTES: Final = 4 * 1024 * 1024

LIVE_BYTES_PER_SECOND: Final = 1024 * 1024
"""Live blocks taken of one feed in the long run; more are dropped, and pulled when it is that feed's turn."""

LIVE_BYTES_BURST: Final = 4 * 1024 * 1024

LIVE_FEEDS: Final = 16_384
"""Feeds whose budgets of live blocks are remembered; the one not heard for longest starts anew."""

EARLY_FRAMES: Final = 16
"""Live frames of one feed that are kept while blocks before theirs are missing; of all feeds, at most LIVE_BYTES."""

LIVE_FRAME_BYTES: Final = 32 * 1024
"""Own blocks gathered into one live frame; a single larger block still goes out alone."""

LIVE_BACKLOG_FRAMES: Final = 4
"""Own blocks published live at once; of a longer backlog a beacon tells, and peers pull it."""

ANSWER_SECONDS: Final = 2.0
"""How long a probe waits for leaves, and a pull for its next frame."""

BACKOFF_MIN_SECONDS: Final = 0.5
"""First pause after a peer did not answer; doubled by each further failure."""

BACKOFF_MAX_SECONDS: Final = 30.0

PATIENCE_FAILURES: Final = 3
"""Requests in a row without an answer after which a peer is no longer waited for, until it is heard again."""

PROBE_PAUSE_SECONDS: Final = 1.0
"""Shortest time between two probes of one peer; doubled, to BACKOFF_MAX_SECONDS, by each that finds nothing."""

CLAIM_STEP_SECONDS: Final = 0.25
"""One step of the ranks by which those wait who could answer a query: each lets twice as many speak."""

QUERY_STEP_SECONDS: Final = 0.05
"""The same for those who lack the same blocks, before they ask: what is missing may still be on its way."""

QUERY_SECONDS: Final = 1.0
"""What a query is given on top of the longest such wait, before what is lacking is asked for again; doubled each time.
"""

QUERIES_PER_GAP: Final = 3
"""Queries for the same blocks, one's own and those of others, before it is left to beacons to find who has them."""

WANTED_BY: Final = 3
"""Peers that want the same few blocks of one node within ANSWER_SECONDS, upon which it publishes them for all."""

REPUBLISHED_PER_SECOND: Final = 2
"""Ranges that one node publishes so in the long run."""

REPUBLISHED_BURST: Final = 16

MAX_QUERIES: Final = 64
"""Queries remembered: those of others that can be answered, and one's own."""

MAX_GAPS: Final = 1024
"""Feeds with gaps that a node asks all for at once."""

GAP_PATIENCE_SECONDS: Final = 0.3
"""How long a gap that a live block shows may close by itself (frames overtake each other) before a range is pulled."""

RECENT_ROOTS: Final = 256
"""Former roots of a node's own, and pairs of roots found to need nothing, that it remembers."""

SETTLED_SECONDS: Final = 100.0
"""How long a pair of different roots that was found to need nothing is not looked into again."""

RECOVERY_SECONDS: Final = 2.0
"""How long a node that does not know all that its key has signed listens, after connecting and after the last block of
its own feed came, before the silence of its peers counts."""

PEER_SECONDS: Final = 160.0
"""A peer not heard for this long (two and a half longest intervals) is not waited for."""

REQUESTS_PER_SECOND: Final = 50
"""Probes and wants answered for one sender in the long run; strangers share one such budget."""

REQUESTS_BURST: Final = 200

RANGES_PER_SECOND: Final = 512
"""Ranges of wants looked up for one sender in the long run; strangers share one such budget."""

RANGES_BURST: Final = 65_536
"""As many as a newcomer may lack feeds: an honest sender asks for each but once or twice."""

SERVED_BYTES_PER_SECOND: Final = 64 * 1024 * 1024
"""Bytes served to one sender in the long run; strangers share one such budget."""

SERVED_BYTES_BURST: Final = 64 * 1024 * 1024

ENVELOPE_COST: Final = 10
"""What a beacon of a member that missed a rotation takes of its requests: its answer is sealed to it alone."""

STRAGGLER_ANSWERS: Final = 3
"""Nodes that answer such a beacon on average, of those that hear it and have heard each other."""

STRAGGLER_PROOFS: Final = 16
"""Fork proofs that answer one probe of such a member, beside the leaves."""

HAIL_MIN_SECONDS: Final = 1.0
"""Shortest interval of the timer of such beacons, after connecting and after the key has changed."""

HAIL_MAX_SECONDS: Final = 128.0

HOLD_SECONDS: Final = 5.0
"""How long own blocks are not published live where our transport key may be an old one: after connecting, while nobody
was heard, and after a member has told us of another key."""

PROOF_REPEAT_SECONDS: Final = 30.0
"""Shortest time between two publications of one feed's fork proof by one node."""

UNCONFIRMED_SECONDS: Final = 600.0
"""Own blocks that no peer has shown to hold for this long raise an alarm."""

ALARM_REPEAT_SECONDS: Final = 300.0
"""The same alarm is not raised again within this time."""

LEAK_SECONDS: Final = 60.0
"""A transport key in use that a revoked member holds raises an alarm after this long: mostly the next comes sooner."""

RECENT_ALARMS: Final = 20
"""The last alarms that a node's status tells of."""

STATUS_ROWS: Final = 100
"""Peers, and feeds that lag, that a node's status names one by one; of the others it tells how many there are."""

STATUS_SECONDS: Final = 2.0
"""Shortest time between two writings of the status file, while something changes."""

STATUS_QUIET_SECONDS: Final = 15.0
"""Longest time between two writings of the status file, while nothing does."""

STATUS_SILENT_SECONDS: Final = 45.0
"""A status file this old shows that its process hangs or is gone, though it may look alive."""

MAX_STATUS_BYTES: Final = 1024 * 1024
"""A status file; with all rows and the longest labels less than a fifth of it."""

MAILBOX_FRAMES: Final = 4096
"""Frames received and not handled yet; more are dropped, counted, and healed by gossip."""

MAILBOX_BYTES: Final = 16 * 1024 * 1024

OUTBOX_BYTES: Final = 4 * 1024 * 1024
"""Bytes handed to the MQTT client and not written to the socket yet, beyond which the gossip worker waits."""

MAX_BROKERS: Final = 16
"""Brokers of one node, tried in turn."""

CONNECT_SECONDS: Final = 10.0
"""How long one broker may take to accept a connection, and again to answer on it, before the next is tried."""

KEEPALIVE_SECONDS: Final = 30
"""Silence on a connection after which the broker is asked whether it is there. One that has stopped answering is left
after one to two of these."""

RECONNECT_SECONDS: Final = 1.0
"""Longest pause before the first attempt after a connection was lost; doubled with each round that fails. The
shortest is a fifth of it, the rest is up to chance, so that boxes do not come back all at once."""

RECONNECT_MAX_SECONDS: Final = 30.0

STEADY_SECONDS: Final = 10.0
"""A connection that lasted so long was a good one. Shorter ones count as failures, or two that throw each other out
would do so without a pause."""

STALL_SECONDS: Final = 30.0
"""How long a broker may take nothing of what waits for it, however much it shows to be there, before it is left."""

SUBSCRIBE_SECONDS: Final = 20.0
"""How long a broker may go on refusing a subscription before an alarm: one that elects a leader refuses for a while."""

ECHO_SECONDS: Final = 15.0
"""How long a broker may take to give back the first frame of ours that we are subscribed to, before an alarm."""
