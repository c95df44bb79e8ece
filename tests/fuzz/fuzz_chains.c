/* fuzz_chains: a log's entries, folded into sessions.
 *
 *   tier 1 | batch 1 | then records: form 1 | entry …
 *
 * The form says how long the entry is (176, with bit 0 184, with bit 1 a byte that follows), whether parent and ordinal are made to
 * follow from the records before (bit 2), whether the frame gives another kind (bit 3) and whether an index is left out (bit 4).
 * Records are handed over in batches. Demanded: what is accepted gives the sessions, checkpoints and requests that a second fold gives,
 * written from docs/FORMAT.md, "Entry"; and no byte outside of an entry is read.
 */
#include "chains.h"
#include "fuzz.h"

FUZZ_WITHOUT(NO_ENTRY_LENGTH_TEST)

enum { RECORDS_MAX = 64, BATCH_MAX = 8 };

typedef struct model_session {
    uint8_t tag[16];
    uint64_t number, newest, ended;
    uint8_t leaf[HASH_SIZE];
    uint32_t next;
    uint32_t points;
    uint32_t writes;
    bool begun_only;
} model_session;

typedef struct model {
    model_session sessions[RECORDS_MAX];
    unsigned count, requests, writes;
    uint64_t points;
} model;

static uint64_t u48(const uint8_t *p) { return (uint64_t)load_u32(p) | (uint64_t)load_u16(p + 4) << 32; }

static model_session *session_of(model *m, const uint8_t *tag) {
    for (unsigned i = 0; i < m->count; i++)
        if (memcmp(m->sessions[i].tag, tag, 16) == 0) return &m->sessions[i];
    return NULL;
}

/* Of which the chains of a tier are made: checkpoints, in the audit tier audit-events, in the memory tier memory-items. */
static bool is_link(unsigned kind) { return kind == 2 || kind == 9 || kind == 10; }

/* Parent and ordinal that the entry has to have to be taken. */
static void mend_chain(model *m, uint8_t *entry) {
    const model_session *own_session = session_of(m, entry + 8);
    if (entry[1] == 6 && own_session != NULL) store_u32(entry + 24, own_session->writes);
    if ((!is_link(entry[1]) && entry[1] != 3) || own_session == NULL) return;
    store_u32(entry + 34, (uint32_t)own_session->newest);
    store_u16(entry + 38, (uint16_t)(own_session->newest >> 32));
    memcpy(entry + 40, own_session->leaf, HASH_SIZE);
    if (is_link(entry[1])) store_u32(entry + 24, own_session->next);
}

/* Takes a record that the engine took: it must be allowed to. */
static void follow(model *m, const uint8_t *entry, const aegis_record *r, uint32_t tier) {
    unsigned kind = entry[1], flags = entry[3];
    bool parent = u48(entry + 34) != 0xffffffffffff, of_log = kind == 4 || kind == 5 || kind == 8 || kind == 14;
    bool beside = kind == 6 || kind == 7 || kind == 12 || kind == 13 || kind == 15;
    uint32_t ordinal = load_u32(entry + 24);
    model_session *s = session_of(m, entry + 8);
    DEMAND(entry[0] == 0 && entry[2] == tier && kind == r->kind && flags <= 1 && r->entry_length == 176u + 8 * flags);
    DEMAND(kind == 1 || kind == 3 || is_link(kind) || of_log || beside);
    DEMAND((kind != 9 || tier == 1) && (kind != 10 || tier == 2) && (kind != 6 || tier == 3));
    DEMAND(parent != all_zero(entry + 40, HASH_SIZE) && of_log == all_zero(entry + 8, 16) && (flags == 0 ? kind != 6 : is_link(kind) || kind == 6));
    if (of_log) DEMAND(!parent && ordinal == 0);
    if (beside) DEMAND(!parent);
    if (kind == 1) {
        DEMAND(s == NULL && (ordinal == 0) == !parent && m->count < RECORDS_MAX);
        s = &m->sessions[m->count++];
        *s = (model_session){.number = r->index, .newest = r->index, .ended = UINT64_MAX, .next = ordinal, .begun_only = true};
        memcpy(s->tag, entry + 8, 16);
        memcpy(s->leaf, r->leaf, HASH_SIZE);
    }
    if (is_link(kind) || kind == 3)
        DEMAND(s != NULL && s->ended == UINT64_MAX && u48(entry + 34) == s->newest && memcmp(entry + 40, s->leaf, HASH_SIZE) == 0);
    if (is_link(kind)) {
        DEMAND(ordinal == s->next);
        s->next++;
        s->points++;
        m->points++;
        m->requests += flags;
        s->newest = r->index;
        s->begun_only = false;
        memcpy(s->leaf, r->leaf, HASH_SIZE);
    }
    if (kind == 3) s->ended = r->index;
    if (kind == 6) {
        DEMAND(s != NULL && s->ended == UINT64_MAX && ordinal == s->writes);
        s->writes++;
        m->writes++;
    }
}

static void demand_same_sessions(aegis_chains *c, model *m) {
    uint64_t sessions = 0, points = 0, requests = 0, writes = 0, at = 0;
    chains_size(c, &sessions, &points, &requests, &writes);
    DEMAND(sessions == m->count && points == m->points && requests == m->requests && writes == m->writes);
    aegis_chain *list = malloc((sessions + 1) * sizeof *list);
    uint8_t *point_bytes = malloc(points * AEGIS_POINT_SIZE + 1), *request_bytes = malloc(requests * AEGIS_REQUEST_SIZE + 1),
            *writes_bytes = malloc(writes * AEGIS_WRITES_SIZE + 1);
    DEMAND(list != NULL && point_bytes != NULL && request_bytes != NULL && writes_bytes != NULL);
    DEMAND(chains_take(c, list, point_bytes, request_bytes, writes_bytes) == AEGIS_OK);
    for (unsigned i = 0; i < sessions; i++) {
        const model_session *s = &m->sessions[i];
        const aegis_chain *out = &list[i];
        DEMAND(memcmp(out->tag, s->tag, 16) == 0 && out->number == s->number && out->points_at == at && out->points == s->points);
        DEMAND(out->ordinal == s->next - s->points && load_u32(out->head) == (s->begun_only ? UINT32_MAX : s->next - 1));
        DEMAND(load_u64(out->head + 4) == s->newest && load_u64(out->head + 20) == s->ended && memcmp(out->head + 28, s->leaf, HASH_SIZE) == 0);
        if (s->points > 0) DEMAND(u48(point_bytes + AEGIS_POINT_SIZE * (at + s->points - 1)) == s->newest);
        at += out->points;
    }
    DEMAND(at == points);
    chains_size(c, &sessions, &points, &requests, &writes);
    DEMAND(sessions == 0 && points == 0 && requests == 0 && writes == 0);
    free(list);
    free(point_bytes);
    free(request_bytes);
    free(writes_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    uint32_t tier = take_u8(&in), batch = 1 + take_u8(&in) % BATCH_MAX;
    static model m;
    aegis_chains *c = NULL;
    memset(&m, 0, sizeof m);
    DEMAND(chains_start(tier, &c) == AEGIS_OK);
    int code = AEGIS_OK;
    uint64_t index = 0;
    for (unsigned n = 0; n < RECORDS_MAX && in.left > 0 && code == AEGIS_OK;) {
        /* One batch, whose entries fill its buffer to the last byte. */
        uint8_t buffer[BATCH_MAX * 256], *exact;
        aegis_record records[BATCH_MAX];
        uint32_t count = 0, told[BATCH_MAX], told_count = 0;
        uint64_t used = 0;
        for (; count < batch && in.left > 0 && n < RECORDS_MAX; count++, n++) {
            unsigned form = take_u8(&in);
            uint32_t length = form & 2 ? take_u8(&in) : 176u + 8 * (form & 1);
            uint8_t *entry = buffer + used;
            take(&in, entry, length);
            if ((form & 4) && length >= 112) mend_chain(&m, entry);
            if (form & 16) index++;
            aegis_record *r = &records[count];
            *r = (aegis_record){.index = index++, .entry_length = length, .entry_at = used};
            r->kind = (length > 1 ? entry[1] : 0u) ^ (form >> 3 & 1);
            leaf_hash(entry, length, r->leaf);
            used += length;
        }
        exact = own(buffer, used);
        code = chains_add(c, exact, records, count, told, &told_count);
        DEMAND(code == AEGIS_OK || code == AEGIS_E_CORRUPT || code == AEGIS_E_FOREIGN || code == AEGIS_E_VERSION || code == AEGIS_E_ARGUMENT);
        uint32_t to_tell = 0;
        for (uint32_t i = 0; i < count && code == AEGIS_OK; i++) {
            const uint8_t *entry = exact + records[i].entry_at;
            follow(&m, entry, &records[i], tier);
            bool more = !is_link(entry[1]) && entry[1] != 3 && entry[1] != 6 && entry[1] != 7;    /* than the entry counts */
            if (more) DEMAND(to_tell < told_count && told[to_tell++] == i);
        }
        DEMAND(code != AEGIS_OK || to_tell == told_count);
        free(exact);
    }
    if (code == AEGIS_OK) demand_same_sessions(c, &m);
    chains_end(c);
    return 0;
}
