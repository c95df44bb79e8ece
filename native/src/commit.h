/* commit: group commit. Threads queue frames; the first that waits leads: one write, and one sync, for all that have queued.
 *
 *     append --> building group --(a leader takes it)--> flying group --(write, sync)--> published: readable, acknowledged
 *
 * While a group flies the next one is built. A record is accepted only when the space that it will take has been zeroed and synced
 * before: in the active segment, or in the prepared next one. So a full disk rejects an append and nothing else, and a group's own
 * write goes to blocks that exist (one device write, one flush).
 *
 * Who is woken by a landing group comes back with its next record a little later than the first of those who queued meanwhile could
 * lead: threads in a closed loop would share syncs by halves only. So whoever is about to lead waits for them, for a moment.
 *
 * Who cannot wait makes a request: records that were requested are led by upkeep, unless a thread that waits comes first.
 *
 * The mutex `mutex` covers everything here; `busy` stands for the active file (a leader, an idle watermark, the close), `making`
 * for whoever makes room. Order of locks: mutex, then the log's state, then the manifest's.
 */
#ifndef AEGIS_COMMIT_H
#define AEGIS_COMMIT_H

#include <stdatomic.h>

#include "log.h"

#define GROUP_FRAMES_MAX 4096u
#define GROUP_BYTES_MAX (4u << 20)
/* How long to wait for a whole cohort: turns of the scheduler, less than 100 µs where nobody else wants to run. */
#define GATHER_YIELDS_MAX 200u
#define GATHER_MS_MAX 1u
#define GATHER_SKIP_MAX 1024u
#define ZERO_STEP_MIN (128u << 10)
#define ZERO_STEP_MAX (16u << 20)
#define ZERO_CHUNK_MAX (1u << 20)

typedef struct group {
    uint8_t *bytes;
    uint64_t capacity;
    uint64_t used;
    uint64_t first;
    uint32_t count;
    uint64_t round;          /* which group this is, from 1; even and odd ones have a condition each */
    uint32_t *offsets;       /* of each frame in `bytes` */
    uint8_t (*leaves)[HASH_SIZE];
} group;

typedef struct writer {
    log *l;
    uint64_t segment_bytes;
    bool sync_groups;        /* durability: false for `write` */
    pthread_mutex_t mutex;
    pthread_cond_t landed[2];        /* a group of that parity was published, or the log was poisoned */
    pthread_cond_t room;             /* space was made, or could not be */
    _Atomic uint32_t waiting[2];     /* threads in a commit of the group of that parity; written with the mutex */
    uint32_t cohort;         /* threads that the last group released, and those that waited for the next one then */
    bool gathering;          /* somebody waits for the cohort, and will lead */
    uint32_t gather_skip;    /* groups to lead without waiting, after waiting in vain */
    uint32_t gather_vain;    /* how many the next time */
    group groups[2];
    uint32_t building;       /* which of the two */
    uint64_t rounds;         /* groups begun */
    uint64_t next_index;
    uint64_t acknowledged;
    uint64_t requested;      /* records below it are to land though nobody may wait for them */
    uint64_t synced;         /* records known durable: the watermark */
    bool busy;
    bool turning;            /* the busy one leads the group being built, and waits for `making` before another is begun */
    bool making;
    uint64_t zeros_due;      /* what is left of a step of zeroing ahead; 0: none was begun */
    bool turn_asked;         /* the group that is built goes to the next segment though the active one is not full */
    bool closing;
    int poison;              /* the code that did it; AEGIS_OK: none */
    aegis_error cause;       /* of that, as the thread that it happened to was told; all zero: none */
    /* where the group being built will go, should every group before it land */
    uint64_t tail;
    uint64_t zeroed;
    bool holds_records;
    uint64_t full_bytes;     /* in segments before the active one */
    /* the segment after the active one, made ahead */
    segment next;
    bool next_ready;
    uint64_t next_zeroed;
    uint64_t last_work_ms;
    pthread_mutex_t sealing; /* whoever writes a footer; taken before `mutex` */
    bool seal_failed;        /* upkeep's own */
    bool compacting;         /* one at a time */
    bool asleep;             /* upkeep has nothing to wait for: the next commit wakes it */
    void (*wake)(void *context);     /* work for the background thread */
    /* requested records landed, up to `size`, or never will */
    void (*tell)(void *context, uint32_t tier, uint64_t size, const aegis_error *poison);
    void *wake_context;      /* of both */
    aegis_tier_stats stats;
} writer;

/* Over a recovered log whose last segment is active, zeroed up to `zeroed`; all its records are durable. */
int writer_init(writer *w, log *l, uint64_t segment_bytes, bool sync_groups, uint64_t zeroed);
void writer_free(writer *w);

int writer_append(writer *w, uint8_t kind, const uint8_t *entry, uint32_t entry_length, const uint8_t *payload,
                  uint32_t payload_length, uint64_t *index);
int writer_commit(writer *w, uint64_t index);
/* Has the record committed without waiting for it. *size and *poison (its code is AEGIS_OK where there is none) are as they were
 * then: it may have landed, or failed. */
int writer_request(writer *w, uint64_t index, uint64_t *size, aegis_error *poison);
/* Commits all that was queued. */
int writer_flush(writer *w);
/* The same, then makes the next segment the active one, unless that has been done since: a segment without a record stays the active
 * one. Durable when it returns. Errors of making room change nothing; others poison. */
int writer_rotate(writer *w);
/* The log as far as it is durable: all that was acknowledged, which with `write` durability is synced first. */
int writer_make_durable(writer *w, merkle_range *range);
/* The same as writer_flush, then writes the end mark, cuts the zeros off and refuses what comes after. A poisoned writer writes nothing. */
int writer_close(writer *w);

/* ---- for upkeep.c ---------------------------------------------------------------------------------------------------- */

/* Takes and gives back the active file. The mutex is held by the caller; take waits. */
void writer_take(writer *w);
void writer_give(writer *w);
void writer_poison(writer *w, int code);
/* Leads the group being built if that holds requested records and nobody else is about to; with the mutex held, which it lets go
 * of meanwhile. True where it did. */
bool writer_lead_requested(writer *w);

/* ---- room.c ---------------------------------------------------------------------------------------------------------- */

/* Whether `size` more bytes have their place: zeroed, in the active segment or the next one. */
bool writer_has_room(const writer *w, uint64_t size);
/* Whether the group being built, as it is, goes to the next segment. */
bool writer_turns(const writer *w);
bool writer_wants_zeros(const writer *w);
/* Makes room for `size` more bytes behind what is queued, at least; with the mutex held, which it lets go of meanwhile. */
int writer_make_room(writer *w, uint64_t size);
/* Zeroes ahead of need: the active segment first, then the next one. True where it did something. */
bool writer_zero_ahead(writer *w);
#endif
