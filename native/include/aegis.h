/* aegis: the C interface of the aegis-store engine. Read the caveats first.
 *
 * CAVEATS
 *
 *   - One process holds a store for writing from aegis_open to aegis_close; another gets AEGIS_E_LOCKED, whose detail names
 *     the holder. Any number of processes may hold it for reading beside the writer.
 *   - Never use a handle in a forked child: its descriptors are closed there and every call returns AEGIS_E_FORKED.
 *     aegis_close and aegis_abandon do nothing there: the handle's memory belongs to threads that only the parent has.
 *   - AEGIS_E_UNKNOWN from aegis_commit means what it says: the record may or may not be there after the next open. The
 *     log is poisoned then: nothing more is accepted in this process; close and open again.
 *   - The network is never touched. Nothing is locked by pid files: a lock ends with its process.
 *   - A store on a network file system is refused for writing unless AEGIS_OPEN_NETWORK is given.
 *
 * THREADS  A handle may be used by any number of threads at once, except aegis_close and aegis_abandon, which must be the
 *          last call on it. aegis_last_error is per thread. A verifier belongs to one thread, and so does a compactor: both end before
 *          their store is closed. A watcher belongs to one thread as well, and may outlive its store.
 *
 * MEMORY   The engine allocates nothing on the append path but what a record larger than any before needs, before the
 *          record is accepted. Outputs go to memory of the caller.
 *
 * ERRORS   Every function returns AEGIS_OK (0) or a negative AEGIS_E_ code and leaves its outputs undefined on failure.
 *          aegis_last_error has the place and a sentence.
 *
 * WORDS    A store has up to four tiers, each one log: records numbered from 0, which are the leaves of an RFC 6962 tree. A
 *          record is an entry (at most 65,535 bytes, hashed as the leaf) and a payload (at most 16 MiB). docs/FORMAT.md is
 *          the format.
 */
#ifndef AEGIS_H
#define AEGIS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define AEGIS_API __attribute__((visibility("default")))
#else
#define AEGIS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Everything between the two marks is read by the Python build (native/build_ffi.py): plain C declarations only. */
/* <cdef> */

#define AEGIS_OK 0
#define AEGIS_E_ARGUMENT -1         /* a call that cannot be meant: a programmer's mistake */
#define AEGIS_E_NOMEM -2            /* no memory; nothing was changed */
#define AEGIS_E_IO -3               /* the operating system said so; system_errno says what */
#define AEGIS_E_NOSPACE -4          /* no space, before anything was written: free some and try again */
#define AEGIS_E_DESCRIPTORS -5      /* out of file descriptors */
#define AEGIS_E_NOTFOUND -6         /* no store, no file, no such record */
#define AEGIS_E_EXISTS -7           /* a store is there already */
#define AEGIS_E_NOTSTORE -8         /* the directory holds something else */
#define AEGIS_E_VERSION -9          /* written by a newer format */
#define AEGIS_E_FOREIGN -10         /* a file of another store, tier or place */
#define AEGIS_E_SECRET -11          /* the store secret is wrong, or missing where it is needed */
#define AEGIS_E_LOCKED -12          /* another process (or handle) has it open for writing */
#define AEGIS_E_READONLY -13        /* opened for reading, or the place cannot be written */
#define AEGIS_E_NETWORK -14         /* a network file system, not asked for by name */
#define AEGIS_E_CORRUPT -15         /* damage: stop, and repair from a replica; never cut off */
#define AEGIS_E_TORN -16            /* an unfinished write at the end: cut it off (internal to recovery) */
#define AEGIS_E_ROLLBACK -17        /* shorter than, or different from, a head that was kept outside */
#define AEGIS_E_POISONED -18        /* a write failed earlier: close and open again */
#define AEGIS_E_UNKNOWN -19         /* this write failed: stored or not, only the next open can tell */
#define AEGIS_E_RANGE -20           /* past the end of the log */
#define AEGIS_E_SPACE -21           /* the caller's buffer is too small; the record says what it needs */
#define AEGIS_E_LIMIT -22           /* larger than a limit allows */
#define AEGIS_E_PROOF -23           /* a proof that does not hold */
#define AEGIS_E_FORKED -24          /* a handle from before fork() */
#define AEGIS_E_UNAUTHENTICATED -25 /* past what can be shown without the store secret */
#define AEGIS_E_WRITEONCE -26       /* something of the audit tier was to be taken away or rewritten */
#define AEGIS_E_BUG -27             /* an invariant of the engine broke: please report it */

#define AEGIS_TIER_AUDIT 1
#define AEGIS_TIER_MEMORY 2
#define AEGIS_TIER_SESSION 3
#define AEGIS_TIER_TELEMETRY 4
#define AEGIS_TIERS 4

#define AEGIS_ENTRY_MAX 65535
#define AEGIS_PAYLOAD_MAX 16777216
#define AEGIS_NAME_MAX 255
#define AEGIS_META_MAX 4096

#define AEGIS_MODE_READ 0           /* changes nothing on disk */
#define AEGIS_MODE_APPEND 1         /* makes the store where it is missing */
#define AEGIS_MODE_CREATE 2         /* it must not exist */
#define AEGIS_MODE_WRITE 3          /* it must exist */

#define AEGIS_OPEN_NETWORK 1        /* allow a network file system */
#define AEGIS_OPEN_NO_THREAD 2      /* no background thread: the caller runs aegis_background */

#define AEGIS_DURABILITY_DEFAULT 0  /* commit for tiers 1 to 3, write for telemetry */
#define AEGIS_DURABILITY_COMMIT 1   /* survives a power cut once acknowledged */
#define AEGIS_DURABILITY_WRITE 2    /* survives the death of the process once acknowledged */

#define AEGIS_RECORD_LAST 1         /* flags of a record: the last of its group */
#define AEGIS_RECORD_GAP 2          /* its payload is gone: what stands there is the index u64 of the record that authorised it */
#define AEGIS_NO_CAUSE 0xffffffffffffffff   /* in aegis_change: the payload is replaced */
#define AEGIS_NO_PAYLOAD 0xffffffffffffffff /* in aegis_record: it was not read */
#define AEGIS_POINT_SIZE 12
#define AEGIS_REQUEST_SIZE 18
#define AEGIS_WRITES_SIZE 24
#define AEGIS_ENTRIES_MAX 256       /* what one aegis_read_entries gives at most */

/* What recovery found in a tier, as flags of aegis_verdict. */
#define AEGIS_VERDICT_CLEAN 1           /* closed in order */
#define AEGIS_VERDICT_UNCLEAN 2         /* not closed in order: the tail was read again and, in a writer, written again */
#define AEGIS_VERDICT_TAIL_CUT 4        /* an unacknowledged tail was dropped */
#define AEGIS_VERDICT_TAIL_AMBIGUOUS 8  /* the dropped bytes were saved: damage in the very last group looks the same */
#define AEGIS_VERDICT_UNAUTHENTICATED 16 /* opened without the secret: records past `size` exist and are not served */
#define AEGIS_VERDICT_POISON 32         /* the last writer had a failed write */
#define AEGIS_VERDICT_MANIFEST_COPY 64  /* one copy of the manifest was damaged */
#define AEGIS_VERDICT_MANIFEST_REBUILT 128 /* both were: it was made again from the segments */
#define AEGIS_VERDICT_DAMAGED 256       /* records that were durable are damaged: reading them is refused, the others are served */

typedef struct aegis_store aegis_store;
typedef struct aegis_verifier aegis_verifier;
typedef struct aegis_chains aegis_chains;
typedef struct aegis_compactor aegis_compactor;
typedef struct aegis_watcher aegis_watcher;

typedef struct aegis_head {
    uint32_t tier;
    uint32_t reserved;
    uint64_t size;
    uint8_t root[32];
} aegis_head;

typedef struct aegis_options {
    uint32_t struct_size;           /* sizeof(aegis_options) of the caller */
    uint32_t mode;
    uint32_t flags;
    uint32_t align;                 /* 0 or 8: groups packed; 4096: each group starts a block (creation only) */
    const uint8_t *secret;          /* 32 bytes, or NULL to open for reading without it */
    const uint8_t *store_id;        /* 16 bytes: given to a new store, demanded of an old one; NULL demands nothing */
    const char *name;               /* creation only, UTF-8 */
    const uint8_t *meta;            /* creation only: bytes that the engine keeps and does not read */
    uint32_t meta_length;
    uint32_t anchor_count;
    const aegis_head *anchors;      /* heads that were kept outside: each must be a prefix of what is found */
    uint64_t segment_bytes;         /* 0: 32 MiB; 64 KiB to 1 GiB (creation only) */
    uint64_t cache_bytes;           /* 0: 4 MiB of tree nodes a tier */
    uint32_t durability[5];         /* by tier; [0] is not used */
    uint32_t reserved;
} aegis_options;

typedef struct aegis_verdict {
    uint32_t tier;
    uint32_t flags;
    uint64_t size;                  /* records served */
    uint64_t cut_bytes;             /* dropped past the last whole group */
    char saved[64];                 /* where they were saved, relative to the store; empty if nowhere */
    uint64_t damaged;               /* damaged records that opening came upon; it does not look at all */
    uint64_t first_damaged;         /* the first of them; all ones: none */
} aegis_verdict;

typedef struct aegis_report {
    uint32_t created;               /* 1: the store was made by this open */
    uint32_t tier_count;
    aegis_verdict tiers[4];
} aegis_report;

typedef struct aegis_record {
    uint64_t index;
    uint32_t kind;
    uint32_t flags;
    uint32_t entry_length;
    uint32_t payload_length;
    uint64_t entry_at;              /* where in the caller's buffer */
    uint64_t payload_at;
    uint8_t leaf[32];
} aegis_record;

/* A session as far as its entries were taken: for aegis_chains_take. */
typedef struct aegis_chain {
    uint8_t tag[16];
    uint64_t number;                /* index of its session-begin */
    uint64_t points_at;             /* which point is its first one */
    uint32_t points;                /* how many checkpoints were taken since the last aegis_chains_take */
    uint32_t ordinal;               /* of the first of them; the others follow without a gap */
    uint8_t head[64];               /* of its newest checkpoint, or its session-begin: ordinal u32 (0xffffffff: none), index u64,
                                       ms u64, index of the session-end u64 (all ones: none), leaf hash [32], count of its writes u32 */
} aegis_chain;

typedef struct aegis_error {
    int32_t code;
    int32_t system_errno;
    uint32_t tier;                  /* 0: not of one tier */
    uint32_t reserved;
    uint64_t segment;
    uint64_t offset;
    uint64_t first;                 /* records hit: first to end - 1; equal: none named */
    uint64_t end;
    char path[128];                 /* relative to the store */
    char message[256];
} aegis_error;

typedef struct aegis_info {
    uint8_t store_id[16];
    uint32_t format;
    uint32_t align;
    uint64_t segment_bytes;
    uint64_t generation;            /* of the manifest */
    uint32_t name_length;
    uint32_t meta_length;
    char name[256];
    uint8_t meta[4096];
    char crc_path[16];
    char sha_path[16];
} aegis_info;

typedef struct aegis_tier_stats {
    uint64_t size;                  /* records readable */
    uint64_t segments;
    uint64_t bytes;                 /* of segment files, pre-zeroed space included */
    uint64_t frame_bytes;           /* of frames in the active segment */
    uint64_t appends;               /* since the store was opened, as all below */
    uint64_t groups;
    uint64_t syncs;
    uint64_t zeroed_bytes;
    uint64_t rotations;
    uint64_t tiles_written;
    uint64_t tiles_rebuilt;
    uint32_t poisoned;
    uint32_t durability;
    uint64_t rewrites;              /* segments that compactions replaced, since the store was opened */
    uint64_t swept;                 /* what the prune and erase records below it say has been done to the files */
} aegis_tier_stats;

typedef struct aegis_footer {
    uint64_t segment;               /* its number: the low 32 bits its place in the tier's history, the high ones how often it was rewritten */
    uint64_t generation;
    uint64_t first;
    uint64_t count;
    uint32_t sealed;                /* 0: active, or its footer is still to be written */
    uint32_t is_signed;
    uint8_t root[32];
    uint8_t frames_sha256[32];
    uint8_t message[144];           /* what the log key signs: the footer's first 144 bytes */
    uint8_t signature[64];
} aegis_footer;

/* What compaction does to one record: its payload goes, or is replaced. */
typedef struct aegis_change {
    uint64_t index;
    uint64_t cause;                 /* of a gap: the record, a later one, that authorises it. AEGIS_NO_CAUSE: the payload is replaced */
    uint64_t payload_at;            /* replaced: where in the caller's payloads */
    uint32_t payload_length;
    uint32_t reserved;
} aegis_change;

/* Neighbouring records whose payload is gone by the word of one record. */
typedef struct aegis_gap_run {
    uint64_t first;
    uint64_t count;
    uint64_t cause;
} aegis_gap_run;

typedef struct aegis_progress {
    uint64_t records;
    uint64_t bytes;
    uint64_t records_total;
    uint64_t bytes_total;
    uint32_t done;
    uint32_t reserved;
    uint8_t root[32];               /* once done: recomputed from every entry; of a compaction, the segment's */
} aegis_progress;

typedef struct aegis_landed {
    uint64_t sizes[5];              /* by tier: records below it are as durable as the tier asks; [0] is not used */
    int32_t failed[5];              /* by tier: what poisoned the log; 0: nothing did */
    uint32_t closed;                /* 1: the store was closed or given up: nothing will change any more */
} aegis_landed;

/* ---- opening and closing -------------------------------------------------------------------------------------------- */

/* Opens the store at `path` and recovers what a crash left. `report` may be NULL. Errors: NOTFOUND, EXISTS, NOTSTORE, VERSION,
 * SECRET, LOCKED, READONLY, NETWORK, CORRUPT, FOREIGN, ROLLBACK, NOSPACE, DESCRIPTORS, NOMEM, IO, ARGUMENT. */
int aegis_open(const char *path, const aegis_options *options, aegis_store **out, aegis_report *report);
/* Commits what was appended, writes the end marks and frees the handle, which is gone whatever is returned. */
int aegis_close(aegis_store *store);
/* Gives the handle up as a crash would leave it: nothing is written. */
int aegis_abandon(aegis_store *store);
/* Readers: take in what the writer has made durable since. Writers: does nothing. */
int aegis_refresh(aegis_store *store);
int aegis_describe(aegis_store *store, aegis_info *out);

/* ---- appending ------------------------------------------------------------------------------------------------------ */

/* Queues a record and returns its index. Not durable, not readable and not acknowledged until aegis_commit says so. Errors that
 * leave nothing behind: ARGUMENT, LIMIT, NOSPACE, NOMEM, READONLY, POISONED, FORKED. */
int aegis_append(aegis_store *store, uint32_t tier, uint32_t kind, const uint8_t *entry, uint32_t entry_length,
                 const uint8_t *payload, uint32_t payload_length, uint64_t *index);
/* Returns once the record at `index` and all before it are as durable as the tier asks. UNKNOWN and POISONED: see CAVEATS. */
int aegis_commit(aegis_store *store, uint32_t tier, uint64_t index);
/* Commits what was appended, then makes the tier's next segment the active one though the active one is not full. Where the active one
 * has no record, nothing happens. Durable when it returns. NOSPACE, NOMEM change nothing; after UNKNOWN and POISONED see CAVEATS. */
int aegis_rotate(aegis_store *store, uint32_t tier);
/* One turn of the background work (groups with requested records, pre-zeroing, idle watermarks, footers, tiles); *wait_ms is when
 * the next is due. Only with AEGIS_OPEN_NO_THREAD. */
int aegis_background(aegis_store *store, uint64_t *wait_ms);

/* ---- not waiting ---------------------------------------------------------------------------------------------------- */

/* For an event loop, which cannot wait in aegis_commit: *fd is to be polled for reading, and for nothing else. It becomes readable
 * when a request of this watcher may have its answer: its record landed, the log was poisoned, the store is gone. */
int aegis_watch_start(aegis_store *store, aegis_watcher **out, int *fd);
/* Asks for the record at `index` and all before it to become as durable as the tier asks, and returns at once: a thread that waits
 * in aegis_commit takes them along, else the background thread does. The watcher is told; NULL: nobody is. */
int aegis_request(aegis_store *store, uint32_t tier, uint64_t index, aegis_watcher *watcher);
/* Takes the signal back, then says how far the tiers have come. */
int aegis_watch_look(aegis_watcher *watcher, aegis_landed *out);
/* What aegis_commit would say about a record that was requested; UNKNOWN also where the store was given up before. ARGUMENT: there
 * is no answer yet. */
int aegis_watch_result(aegis_watcher *watcher, uint32_t tier, uint64_t index);
void aegis_watch_end(aegis_watcher *watcher);

/* ---- reading -------------------------------------------------------------------------------------------------------- */

/* Number of readable records: acknowledged ones in a writer. */
int aegis_size(aegis_store *store, uint32_t tier, uint64_t *size);
/* Copies a record, its checksum and its inclusion under the tree checked, to buffer: entry, then payload. SPACE: the lengths
 * in *record say what is needed. CORRUPT names the record; others stay readable. */
int aegis_read(aegis_store *store, uint32_t tier, uint64_t index, uint8_t *buffer, uint64_t capacity, aegis_record *record);
/* The same for as many of [first, first + limit) as fit, at least one (else SPACE), in order. */
int aegis_read_range(aegis_store *store, uint32_t tier, uint64_t first, uint32_t limit, uint8_t *buffer, uint64_t capacity,
                     aegis_record *records, uint32_t *count);

/* Entries of [first, first + limit), proven by the tree, as many as are at hand (at least one, at most 256), for who reads a whole log.
 * Of payloads nothing is checked, and they are there only for kinds below 64 whose bit is set in `payloads`; elsewhere payload_at is
 * AEGIS_NO_PAYLOAD. SPACE, CORRUPT as above. */
int aegis_read_entries(aegis_store *store, uint32_t tier, uint64_t first, uint32_t limit, uint64_t payloads, uint8_t *buffer,
                       uint64_t capacity, aegis_record *records, uint32_t *count);

/* ---- folding entries into sessions ---------------------------------------------------------------------------------- */

/* Needs no store; belongs to one thread at a time. What an entry holds: docs/FORMAT.md, "Entry". */
int aegis_chains_start(uint32_t tier, aegis_chains **out);
/* Takes entries in, in order from the log's first on. told[0] to told[*told_count - 1] (room for `count`) say which of `records` the
 * caller has to look at, since more than the entry counts. FOREIGN, CORRUPT, VERSION name the record that does not follow the one
 * before it in its session, or is no entry that this version knows: then the chains are of no more use. */
int aegis_chains_add(aegis_chains *chains, const uint8_t *buffer, const aegis_record *records, uint32_t count, uint32_t *told,
                     uint32_t *told_count);
/* How much there is to take: sessions, points, requests and writes. */
int aegis_chains_size(const aegis_chains *chains, uint64_t *sessions, uint64_t *points, uint64_t *requests, uint64_t *writes);
/* The sessions that were begun, went on or ended since the last call, by number; their points, index u48 and ms u48 each, session by
 * session; and the checkpoints with a request tag, in the log's order: number of the session (six bytes, the highest first), request
 * tag [8], ordinal u32; and so the writes records: number of the session, request tag [8], ordinal u32, index u48. Each place has room for
 * what aegis_chains_size said. */
int aegis_chains_take(aegis_chains *chains, aegis_chain *sessions, uint8_t *points, uint8_t *requests, uint8_t *writes);
void aegis_chains_end(aegis_chains *chains);

/* ---- deltas between states ------------------------------------------------------------------------------------------ */

/* Pure; need no store. What a delta is: docs/FORMAT.md, "Delta". */

/* The delta that makes `target` from `base`. SPACE: it takes more than `capacity` bytes, and `out` is undefined. LIMIT: above 4 GiB. */
int aegis_delta_make(const uint8_t *base, uint64_t base_length, const uint8_t *target, uint64_t target_length, uint8_t *out,
                     uint64_t capacity, uint64_t *length);
/* Applies `count` deltas, the first one to the keyframe, each other to what the one before it made; the last must make `length` bytes.
 * CORRUPT: one is malformed or does not fit. LIMIT: a state on the way has more than `limit` bytes. */
int aegis_delta_restore(const uint8_t *keyframe, uint64_t keyframe_length, const uint8_t *const *deltas, const uint64_t *lengths,
                        uint32_t count, uint64_t limit, uint8_t *out, uint64_t length);

/* ---- the tree ------------------------------------------------------------------------------------------------------- */

/* Root of the first `size` records. */
int aegis_head_at(aegis_store *store, uint32_t tier, uint64_t size, aegis_head *out);
/* Proofs by RFC 6962; `hashes` has room for 64 x 32 bytes. */
int aegis_inclusion(aegis_store *store, uint32_t tier, uint64_t index, uint64_t size, uint8_t *hashes, uint32_t *count);
int aegis_consistency(aegis_store *store, uint32_t tier, uint64_t old_size, uint64_t size, uint8_t *hashes, uint32_t *count);
/* Pure; need no store. OK or AEGIS_E_PROOF. */
int aegis_check_inclusion(const uint8_t *leaf, uint64_t index, uint64_t size, const uint8_t *hashes, uint32_t count,
                          const uint8_t *root);
int aegis_check_consistency(uint64_t old_size, const uint8_t *old_root, uint64_t size, const uint8_t *root,
                            const uint8_t *hashes, uint32_t count);
int aegis_leaf_hash(const uint8_t *entry, uint32_t length, uint8_t *out);

/* ---- sealed segments ------------------------------------------------------------------------------------------------ */

/* The segment at `position` in the tier's list (0 is the oldest); RANGE past the end. */
int aegis_segment(aegis_store *store, uint32_t tier, uint64_t position, aegis_footer *out);
/* The name of a segment's file within its tier's folder, by its number. `out` has 24 bytes. */
int aegis_segment_file(uint64_t segment, char *out);
/* Writes the footers of all full segments that have none, unless the background thread comes first. */
int aegis_seal(aegis_store *store, uint32_t tier);
/* Writes the signature of a sealed segment's footer, once: EXISTS if another one stands there. `segment` is the number of the one that it was
 * made for: NOTFOUND if another file has taken its place since. */
int aegis_sign_segment(aegis_store *store, uint32_t tier, uint64_t position, uint64_t segment, const uint8_t *signature);

/* ---- compacting ----------------------------------------------------------------------------------------------------- */

/* Begins to write a sealed segment anew, with some payloads gone or replaced; entries stay, and with them the tree. Changes ascend by index,
 * are of this segment, and stay with the payloads until the end; there is one at least. A gap may become one by another cause. ARGUMENT: a
 * change that cannot be meant, a cause that is not durable, a segment that is not sealed, another compaction of the tier at work, the audit
 * tier, which is never compacted. RANGE: no such segment. CORRUPT: its footer is damaged. POISONED: see CAVEATS. */
int aegis_compact_start(aegis_store *store, uint32_t tier, uint64_t position, const aegis_change *changes, uint32_t count,
                        const uint8_t *payloads, uint64_t payloads_length, aegis_compactor **out);
/* Copies about `budget_bytes`; the last step makes all of it durable, lists the new file and removes the old one. CORRUPT names the record
 * whose bytes are not what they were; ARGUMENT: a payload for a gap. After an error only the end is left: the segment is as it was, or,
 * where the last step failed at its own end, rewritten, and the old file goes with the next open. */
int aegis_compact_step(aegis_compactor *compactor, uint64_t budget_bytes, aegis_progress *progress);
/* Gives up what was not published. The file that was replaced is closed a moment later: aegis_set_swept and a close of the store wait for it. */
void aegis_compact_end(aegis_compactor *compactor);
/* Notes that what the prune and erase records below `swept` say has been done to the files; never lowers it. Durable when it returns.
 * ARGUMENT: above what is durable. */
int aegis_set_swept(aegis_store *store, uint32_t tier, uint64_t swept);

/* ---- verifying ------------------------------------------------------------------------------------------------------ */

/* Reads a tier's every byte again and recomputes the tree, independently of caches: checksums, links of the active segment,
 * footers, roots, gaps. Work is done in steps of about `budget_bytes`, so that a caller can show progress or stop. */
int aegis_verify_start(aegis_store *store, uint32_t tier, aegis_verifier **out);
int aegis_verify_step(aegis_verifier *verifier, uint64_t budget_bytes, aegis_progress *progress);
/* The gaps that verifying came by since the last call, in order, at most `capacity` runs; *count 0: no more so far. Each cause is behind its
 * gaps and in the log; what it says, and whether it may, is the caller's to ask. */
int aegis_verify_gaps(aegis_verifier *verifier, aegis_gap_run *out, uint32_t capacity, uint32_t *count);
void aegis_verify_end(aegis_verifier *verifier);

/* ---- signatures ------------------------------------------------------------------------------------------------------ */

/* The engine has no signature code. It calls the caller's, so that an interpreter which lets one thread run at a time is left once,
 * and not for each signature. */

/* libsodium's crypto_sign_open or what can be called like it, with NULL for what it would give back; 0 says that the signature at the
 * head of a signed message holds. */
typedef int aegis_open_fn(unsigned char *message, unsigned long long *message_length, const unsigned char *signed_message,
                          unsigned long long signed_length, const unsigned char *public_key);
/* For `count` signed messages of these lengths, one behind the other, with their public keys [32] likewise: 1 or 0 in held[i]. */
int aegis_open_all(aegis_open_fn *check, const uint8_t *signed_messages, const uint32_t *lengths, const uint8_t *public_keys,
                   uint32_t count, uint8_t *held);

/* libsodium's crypto_sign or what can be called like it: puts the signature [64] and the message behind it into signed_message. */
typedef int aegis_sign_fn(unsigned char *signed_message, unsigned long long *signed_length, const unsigned char *message,
                          unsigned long long message_length, const unsigned char *secret_key);
#define AEGIS_MESSAGE_MAX 960
/* aegis_append of the entry that ends a message, from `entry_at` on, with the signature over the whole message behind it; `leaf` [32]
 * gets its leaf hash. Errors as of aegis_append, and ARGUMENT for a message above AEGIS_MESSAGE_MAX bytes or one that is not signed. */
int aegis_append_signed(aegis_store *store, uint32_t tier, uint32_t kind, const uint8_t *message, uint32_t message_length,
                        uint32_t entry_at, aegis_sign_fn *sign, const uint8_t *secret_key, const uint8_t *payload,
                        uint32_t payload_length, uint64_t *index, uint8_t *leaf);

/* ---- about ---------------------------------------------------------------------------------------------------------- */

int aegis_stats(aegis_store *store, uint32_t tier, aegis_tier_stats *out);
/* The last failure on this thread. */
void aegis_last_error(aegis_error *out);
/* "AEGIS_E_CORRUPT" and a sentence, for any code. */
const char *aegis_error_name(int code);
const char *aegis_error_message(int code);

/* </cdef> */

#ifdef __cplusplus
}
#endif
#endif
