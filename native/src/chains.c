/* chains: see chains.h.
 *
 * Entries are taken if and only if
 *   (1) their indices follow one another from 0 on,
 *   (2) they have 176 bytes, or 184 with the flag for a request tag, and version, flags, kind and tier are known ones; the frame
 *       gives the same kind,
 *   (3) a parent's leaf hash is zero exactly where there is no parent; who has to have a parent has one, and nobody else,
 *   (4) the session tag is zero exactly for keys, dictionaries and prunes; ordinals are 0 where they have to be (there, and in a
 *       session-begin without a parent); only a link has a request tag, and
 *       writes always have,
 *   (5) a session begins once, before its links and its end, and no link follows its end,
 *   (6) a link and a session-end name the session's last record as parent, by index and leaf hash,
 *   (7) the first link has the ordinal that the session-begin gives, each other one the next,
 *   (8) writes are in the session tier, belong to a session that has begun and was not ended, and count up from 0 within it.
 * A link is a checkpoint, an audit-event or a memory-item: what the chains of a tier are made of, the latter two in a tier of their own.
 * Chunks, holds, hold-releases and erasures have a session's tag and any ordinal, and are not part of its chain: (5) to (7) do not ask them.
 * Whether a record is a stub makes no difference: its entry is what it was. Of what is told back the caller sees the flags.
 * (1)-(8) each have a test of that number in tests/native/test_chains.c. Where an entry lies in the log, and that it is in the tree,
 * has been shown before (log_read_entries).
 */
#include "chains.h"

#include <stdlib.h>

enum {
    AT_VERSION = 0,
    AT_KIND = 1,
    AT_TIER = 2,
    AT_FLAGS = 3,
    AT_TAG = 8,
    AT_ORDINAL = 24,
    AT_TIME = 28,
    AT_PARENT = 34,
    AT_PARENT_LEAF = 40,
    AT_REQUEST = 112,
    REQUEST_SIZE = 8,
    ENTRY_SIZE = 176,
};
enum {
    SESSION_BEGIN = 1, CHECKPOINT = 2, SESSION_END = 3, KEY_ADD = 4, KEY_REVOKE = 5, WRITES = 6, CHUNK = 7, DICTIONARY = 8,
    AUDIT_EVENT = 9, MEMORY_ITEM = 10, HOLD = 12,
    HOLD_RELEASE = 13, PRUNE = 14, ERASE = 15,
};

enum { AUDIT_TIER = 1, MEMORY_TIER = 2, SESSION_TIER = 3 };

#define FLAG_REQUEST 1
#define NO_PARENT 0xffffffffffffu
#define NO_ORDINAL UINT32_MAX
#define NO_INDEX UINT64_MAX
#define HEAD_SIZE 64
_Static_assert(HEAD_SIZE == 4 + 8 + 8 + 8 + HASH_SIZE + 4, "aegis.h shows what a head holds");
_Static_assert(sizeof(aegis_chain) == 104, "the Python side unpacks it by these sizes");

/* A session, as far as its records came by. */
typedef struct chain {
    uint8_t tag[CHAINS_TAG];
    uint64_t number;
    uint64_t index;          /* of its newest checkpoint, or its session-begin: what the next record names as parent */
    uint8_t leaf[HASH_SIZE];
    uint64_t time_ms;
    uint64_t ended;
    uint32_t next;           /* ordinal of the checkpoint that comes */
    uint32_t points;         /* since the last take */
    uint32_t writes;         /* ordinal of the writes that come */
    bool begun_only;
    bool touched;
} chain;

typedef struct point {
    uint32_t slot;           /* whose it is */
    uint8_t bytes[AEGIS_POINT_SIZE];
} point;

struct aegis_chains {
    uint32_t tier;
    uint64_t next_index;
    chain *list;             /* in the order of their session-begins, so by number */
    uint32_t count;
    uint32_t capacity;
    uint32_t *places;        /* by tag: slot + 1, or 0; open addressing, at most half full */
    uint64_t place_count;    /* a power of two */
    uint64_t touched;
    point *points;
    uint64_t point_count;
    uint64_t point_capacity;
    uint8_t *requests;
    uint64_t request_count;
    uint64_t request_capacity;
    uint8_t *writes;
    uint64_t writes_count;
    uint64_t writes_capacity;
};

static uint64_t load_u48(const uint8_t *p) { return (uint64_t)load_u32(p) | (uint64_t)load_u16(p + 4) << 32; }

static void store_u48(uint8_t *p, uint64_t v) {
    store_u32(p, (uint32_t)v);
    store_u16(p + 4, (uint16_t)(v >> 32));
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */

int chains_start(uint32_t tier, aegis_chains **out) {
    aegis_chains *c = calloc(1, sizeof *c);
    if (c == NULL) return fail(AEGIS_E_NOMEM, "no memory for chains");
    c->tier = tier;
    *out = c;
    return AEGIS_OK;
}

void chains_end(aegis_chains *c) {
    if (c == NULL) return;
    free(c->list);
    free(c->places);
    free(c->points);
    free(c->requests);
    free(c->writes);
    free(c);
}

/* Room for `count` things of `size` bytes at *list; at least double of what there is. */
static int grow(void *list, uint64_t *capacity, uint64_t count, size_t size) {
    if (count <= *capacity) return AEGIS_OK;
    uint64_t wanted = max_u64(count, max_u64(1024, *capacity * 2)), bytes = 0;
    void *old = NULL;
    memcpy(&old, list, sizeof old);
    void *grown = mul_u64(wanted, size, &bytes) && bytes <= SIZE_MAX ? realloc(old, (size_t)bytes) : NULL;
    if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for %llu items of a log's sessions", (unsigned long long)wanted);
    memcpy(list, &grown, sizeof grown);
    *capacity = wanted;
    return AEGIS_OK;
}

/* ---- sessions by tag ------------------------------------------------------------------------------------------------ */

/* Tags are random, so their own bits serve; a log full of chosen ones makes this slow, and no more. */
static uint64_t place_of(const aegis_chains *c, const uint8_t *tag) {
    uint64_t at = load_u64(tag) & (c->place_count - 1);
    while (c->places[at] != 0 && memcmp(c->list[c->places[at] - 1].tag, tag, CHAINS_TAG) != 0) at = (at + 1) & (c->place_count - 1);
    return at;
}

static chain *chain_of(const aegis_chains *c, const uint8_t *tag) {
    if (c->place_count == 0) return NULL;
    uint32_t slot = c->places[place_of(c, tag)];
    return slot == 0 ? NULL : &c->list[slot - 1];
}

static int more_places(aegis_chains *c) {
    uint64_t count = max_u64(1024, c->place_count * 2);
    uint32_t *fresh = calloc((size_t)count, sizeof *fresh);
    if (fresh == NULL) return fail(AEGIS_E_NOMEM, "no memory for %llu sessions", (unsigned long long)count);
    free(c->places);
    c->places = fresh;
    c->place_count = count;
    for (uint32_t slot = 0; slot < c->count; slot++) c->places[place_of(c, c->list[slot].tag)] = slot + 1;
    return AEGIS_OK;
}

/* ---- one entry ------------------------------------------------------------------------------------------------------ */

static int wrong(const aegis_chains *c, uint64_t index, int code, const char *what) {
    const place where = {.tier = c->tier, .first = index, .end = index + 1};
    return fail_at(code, &where, "record %llu %s", (unsigned long long)index, what);
}

/* Kinds of the log as a whole: they belong to no session. */
static bool is_of_log(unsigned kind) { return kind == KEY_ADD || kind == KEY_REVOKE || kind == DICTIONARY || kind == PRUNE; }
/* Kinds that a session's chain is made of, from its begin to its end. */
static bool is_link(unsigned kind) { return kind == CHECKPOINT || kind == AUDIT_EVENT || kind == MEMORY_ITEM; }
/* Kinds that belong to a session and are no part of its chain. */
static bool is_beside_chain(unsigned kind) {
    return kind == CHUNK || kind == WRITES || kind == HOLD || kind == HOLD_RELEASE || kind == ERASE;
}
/* Kinds that the caller has to look at. */
static bool is_told(unsigned kind) {
    return kind == SESSION_BEGIN || is_of_log(kind) || (is_beside_chain(kind) && kind != CHUNK && kind != WRITES);
}

/* Rules (2) to (4). */
static int check_form(const aegis_chains *c, const uint8_t *entry, const aegis_record *record) {
    uint64_t index = record->index;
    if (entry[AT_VERSION] != 0 || (entry[AT_FLAGS] & ~FLAG_REQUEST) != 0) return wrong(c, index, AEGIS_E_VERSION, "has a later version's entry");
    unsigned kind = entry[AT_KIND];
    bool requested = entry[AT_FLAGS] == FLAG_REQUEST;
    if (record->entry_length != ENTRY_SIZE + (requested ? REQUEST_SIZE : 0u)) return wrong(c, index, AEGIS_E_CORRUPT, "has an entry of a wrong length");
    if (kind != record->kind || entry[AT_TIER] != c->tier) return wrong(c, index, AEGIS_E_FOREIGN, "has an entry of another place");
    bool of_log = is_of_log(kind), beside = is_beside_chain(kind), chained = is_link(kind) || kind == SESSION_END;
    if (!of_log && !beside && !chained && kind != SESSION_BEGIN) return wrong(c, index, AEGIS_E_VERSION, "is of a kind that is not known");
    bool parent = load_u48(entry + AT_PARENT) != NO_PARENT;
    uint32_t ordinal = load_u32(entry + AT_ORDINAL);
    if (parent == all_zero(entry + AT_PARENT_LEAF, HASH_SIZE) || (chained && !parent) || ((of_log || beside) && parent))
        return wrong(c, index, AEGIS_E_CORRUPT, "has a parent where none can be, or none where one has to be");
    if (all_zero(entry + AT_TAG, CHAINS_TAG) != of_log) return wrong(c, index, AEGIS_E_CORRUPT, "has a session where none can be, or none where one has to be");
    if ((of_log && ordinal != 0) || (kind == SESSION_BEGIN && (ordinal == 0) == parent)) return wrong(c, index, AEGIS_E_CORRUPT, "has an ordinal that it cannot have");
    if (requested ? !is_link(kind) && kind != WRITES : kind == WRITES)
        return wrong(c, index, AEGIS_E_CORRUPT, "has a request tag where none can be, or none where one has to be");
    if ((kind == AUDIT_EVENT && c->tier != AUDIT_TIER) || (kind == MEMORY_ITEM && c->tier != MEMORY_TIER) ||
        (kind == WRITES && c->tier != SESSION_TIER))
        return wrong(c, index, AEGIS_E_CORRUPT, "is of a kind that this tier cannot have");
    return AEGIS_OK;
}

static void touch(aegis_chains *c, chain *own) {
    if (!own->touched) c->touched++;
    own->touched = true;
}

static int begin(aegis_chains *c, const uint8_t *entry, const aegis_record *record) {
    if (chain_of(c, entry + AT_TAG) != NULL) return wrong(c, record->index, AEGIS_E_FOREIGN, "begins a session that has begun");
    uint64_t capacity = c->capacity;
    CHECK(c->count < UINT32_MAX / 2);
    TRY(grow(&c->list, &capacity, (uint64_t)c->count + 1, sizeof *c->list));
    c->capacity = (uint32_t)capacity;
    if (2 * ((uint64_t)c->count + 1) > c->place_count) TRY(more_places(c));
    chain *own = &c->list[c->count];
    *own = (chain){.number = record->index, .index = record->index, .time_ms = load_u48(entry + AT_TIME), .ended = NO_INDEX,
                   .next = load_u32(entry + AT_ORDINAL), .begun_only = true};
    memcpy(own->tag, entry + AT_TAG, CHAINS_TAG);
    memcpy(own->leaf, record->leaf, HASH_SIZE);
    c->places[place_of(c, own->tag)] = ++c->count;
    touch(c, own);
    return AEGIS_OK;
}

/* The session that goes on with this record. */
static int open_session(aegis_chains *c, const uint8_t *entry, const aegis_record *record, chain **out) {
    chain *own = chain_of(c, entry + AT_TAG);
    if (own == NULL) return wrong(c, record->index, AEGIS_E_FOREIGN, "belongs to a session that never began");
    if (own->ended != NO_INDEX) return wrong(c, record->index, AEGIS_E_FOREIGN, "belongs to a session that was ended");
    *out = own;
    return AEGIS_OK;
}

/* Rules (5) and (6). */
static int follow(aegis_chains *c, const uint8_t *entry, const aegis_record *record, chain **out) {
    chain *own = NULL;
    TRY(open_session(c, entry, record, &own));
    if (load_u48(entry + AT_PARENT) != own->index || memcmp(entry + AT_PARENT_LEAF, own->leaf, HASH_SIZE) != 0)
        return wrong(c, record->index, AEGIS_E_FOREIGN, "does not follow the one before it in its session");
    *out = own;
    return AEGIS_OK;
}

/* Number of the session, request tag, ordinal. */
static void write_request(uint8_t *to, const chain *own, const uint8_t *entry, uint32_t ordinal) {
    for (unsigned i = 0; i < 6; i++) to[i] = (uint8_t)(own->number >> (8 * (5 - i)));
    memcpy(to + 6, entry + AT_REQUEST, REQUEST_SIZE);
    store_u32(to + 6 + REQUEST_SIZE, ordinal);
}

static int add_link(aegis_chains *c, const uint8_t *entry, const aegis_record *record) {
    chain *own = NULL;
    TRY(follow(c, entry, record, &own));
    if (load_u32(entry + AT_ORDINAL) != own->next || own->next == NO_ORDINAL)
        return wrong(c, record->index, AEGIS_E_FOREIGN, "is not the checkpoint of its session that comes");
    TRY(grow(&c->points, &c->point_capacity, c->point_count + 1, sizeof *c->points));
    if (entry[AT_FLAGS] == FLAG_REQUEST) {
        TRY(grow(&c->requests, &c->request_capacity, c->request_count + 1, AEGIS_REQUEST_SIZE));
        write_request(c->requests + c->request_count++ * AEGIS_REQUEST_SIZE, own, entry, own->next);
    }
    point *p = &c->points[c->point_count++];
    p->slot = (uint32_t)(own - c->list);
    store_u48(p->bytes, record->index);
    memcpy(p->bytes + 6, entry + AT_TIME, 6);
    own->index = record->index;
    own->time_ms = load_u48(entry + AT_TIME);
    memcpy(own->leaf, record->leaf, HASH_SIZE);
    own->next++;
    own->points++;
    own->begun_only = false;
    touch(c, own);
    return AEGIS_OK;
}

/* Rule (8). */
static int add_writes(aegis_chains *c, const uint8_t *entry, const aegis_record *record) {
    chain *own = NULL;
    TRY(open_session(c, entry, record, &own));
    if (load_u32(entry + AT_ORDINAL) != own->writes || own->writes == NO_ORDINAL)
        return wrong(c, record->index, AEGIS_E_FOREIGN, "is not the writes record of its session that comes");
    TRY(grow(&c->writes, &c->writes_capacity, c->writes_count + 1, AEGIS_WRITES_SIZE));
    uint8_t *writes = c->writes + c->writes_count++ * AEGIS_WRITES_SIZE;
    write_request(writes, own, entry, own->writes++);
    store_u48(writes + AEGIS_REQUEST_SIZE, record->index);
    touch(c, own);
    return AEGIS_OK;
}

static int end_session(aegis_chains *c, const uint8_t *entry, const aegis_record *record) {
    chain *own = NULL;
    TRY(follow(c, entry, record, &own));
    own->ended = record->index;
    touch(c, own);
    return AEGIS_OK;
}

int chains_add(aegis_chains *c, const uint8_t *buffer, const aegis_record *records, uint32_t count, uint32_t *told,
               uint32_t *told_count) {
    *told_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const aegis_record *record = &records[i];
        if (record->index != c->next_index) return wrong(c, record->index, AEGIS_E_ARGUMENT, "was not the one to come");
        if (record->entry_length < ENTRY_SIZE && !MUTANT(NO_ENTRY_LENGTH_TEST))
            return wrong(c, record->index, AEGIS_E_CORRUPT, "has an entry of a wrong length");
        const uint8_t *entry = buffer + record->entry_at;
        TRY(check_form(c, entry, record));
        switch (entry[AT_KIND]) {
        case SESSION_BEGIN: TRY(begin(c, entry, record)); break;
        case CHECKPOINT: case AUDIT_EVENT: case MEMORY_ITEM: TRY(add_link(c, entry, record)); break;
        case SESSION_END: TRY(end_session(c, entry, record)); break;
        case WRITES: TRY(add_writes(c, entry, record)); break;
        default: break;
        }
        if (is_told(entry[AT_KIND])) told[(*told_count)++] = i;
        c->next_index++;
    }
    return AEGIS_OK;
}

/* ---- what came of it ------------------------------------------------------------------------------------------------ */

void chains_size(const aegis_chains *c, uint64_t *sessions, uint64_t *points, uint64_t *requests, uint64_t *writes) {
    *sessions = c->touched;
    *points = c->point_count;
    *requests = c->request_count;
    *writes = c->writes_count;
}

static void write_head(const chain *own, uint8_t *head) {
    store_u32(head, own->begun_only ? NO_ORDINAL : own->next - 1);
    store_u64(head + 4, own->index);
    store_u64(head + 12, own->time_ms);
    store_u64(head + 20, own->ended);
    memcpy(head + 28, own->leaf, HASH_SIZE);
    store_u32(head + 28 + HASH_SIZE, own->writes);
}

int chains_take(aegis_chains *c, aegis_chain *sessions, uint8_t *points, uint8_t *requests, uint8_t *writes) {
    uint64_t at = 0, taken = 0;
    uint64_t *ends = malloc(max_u64(c->count, 1) * sizeof *ends);    /* where each session's next point goes */
    if (ends == NULL) return fail(AEGIS_E_NOMEM, "no memory for %u sessions", (unsigned)c->count);
    for (uint32_t slot = 0; slot < c->count; slot++) {
        chain *own = &c->list[slot];
        if (!own->touched) continue;
        aegis_chain *out = &sessions[taken++];
        *out = (aegis_chain){.number = own->number, .points_at = at, .points = own->points, .ordinal = own->next - own->points};
        memcpy(out->tag, own->tag, CHAINS_TAG);
        write_head(own, out->head);
        ends[slot] = at;
        at += own->points;
        own->points = 0;
        own->touched = false;
    }
    for (uint64_t i = 0; i < c->point_count; i++)
        memcpy(points + AEGIS_POINT_SIZE * ends[c->points[i].slot]++, c->points[i].bytes, AEGIS_POINT_SIZE);
    free(ends);
    if (c->request_count > 0) memcpy(requests, c->requests, (size_t)c->request_count * AEGIS_REQUEST_SIZE);
    if (c->writes_count > 0) memcpy(writes, c->writes, (size_t)c->writes_count * AEGIS_WRITES_SIZE);
    c->touched = 0;
    c->point_count = 0;
    c->request_count = 0;
    c->writes_count = 0;
    return AEGIS_OK;
}
