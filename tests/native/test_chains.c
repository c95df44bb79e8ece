/* chains.c: entries folded into sessions, against a list that is looked through from the start; and each rule of the file's head. */
#include "check.h"
#include "chains.h"
#include "sha256.h"

enum { BEGIN = 1, CHECKPOINT = 2, END = 3, KEY_ADD = 4, KEY_REVOKE = 5, WRITES = 6, CHUNK = 7, DICTIONARY = 8, AUDIT_EVENT = 9, MEMORY_ITEM = 10,
       HOLD = 12, HOLD_RELEASE = 13, PRUNE = 14, ERASE = 15 };
enum { MAX = 20000, NONE = UINT32_MAX };
static uint32_t tier = AEGIS_TIER_SESSION;    /* whose log it is */

/* A log of entries in memory, as aegis_read_entries gives them. */
static uint8_t entries[MAX][184];
static aegis_record records[MAX];
static uint32_t count;
static uint32_t told[MAX];
static uint32_t told_count;

static void seal(uint32_t i) {
    records[i].entry_at = (uint64_t)i * 184;
    records[i].index = i;
    records[i].kind = entries[i][1];
    records[i].entry_length = entries[i][3] & 1 ? 184 : 176;
    leaf_hash(entries[i], records[i].entry_length, records[i].leaf);
}

/* Adds an entry: which session, the record before it there (NONE: no parent), its ordinal. Its place. */
static uint32_t add(unsigned kind, uint32_t session, uint32_t parent, uint32_t ordinal) {
    uint8_t *e = entries[count];
    memset(e, 0, 184);
    e[1] = (uint8_t)kind;
    e[2] = (uint8_t)tier;
    if (session != NONE) {
        store_u32(e + 8, session * 2654435761u);
        store_u32(e + 20, ~session);
    }
    store_u32(e + 24, ordinal);
    store_u32(e + 28, 1000 + count);
    memset(e + 34, 0xff, 6);
    if (parent != NONE) {
        store_u32(e + 34, parent);
        store_u16(e + 38, 0);
        memcpy(e + 40, records[parent].leaf, HASH_SIZE);
    }
    store_u32(e + 72, count * 7 + 1);    /* stands for the rest: no two entries are equal */
    seal(count);
    return count++;
}

/* Adds writes: their session, their count in it, their request tag. */
static uint32_t add_writes(uint32_t session, uint32_t ordinal, uint64_t request) {
    uint32_t at = add(WRITES, session, NONE, ordinal);
    entries[at][3] = 1;
    store_u64(entries[at] + 112, request);
    seal(at);
    return at;
}

static aegis_chains *start(void) {
    aegis_chains *c = NULL;
    count = 0;
    EXPECT_OK(aegis_chains_start(tier, &c));
    return c;
}

static int take_in(aegis_chains *c, uint32_t first, uint32_t end) {
    return aegis_chains_add(c, entries[0], records + first, end - first, told, &told_count);
}

/* ---- a sound log ------------------------------------------------------------------------------------------------------ */

enum { SESSIONS = 3000 };

typedef struct model {
    uint32_t begun, last, ended, next, taken, writes;
} model;

static model sessions[SESSIONS];
static uint32_t session_of[MAX];
static uint32_t writes_of[MAX];
static uint32_t ordinal_of[MAX];

/* Sessions, forks, ends, chunks and keys in any order. */
static void write_log(uint64_t *seed) {
    uint32_t open = 0;
    while (count < MAX) {
        uint64_t dice = next_random(seed);
        uint32_t which = open == 0 ? 0 : (uint32_t)(dice >> 8) % open, at = count;
        model *m = &sessions[which];
        session_of[at] = writes_of[at] = NONE;
        switch (dice % 16) {
        case 0:
        case 1:
            if (open == SESSIONS) break;
            uint32_t parent = open > 0 && dice % 3 == 0 && m->next > 0 ? m->last : NONE;
            uint32_t ordinal = parent == NONE ? 0 : m->next;
            if (ordinal == 0) parent = NONE;
            add(BEGIN, open, parent, ordinal);
            sessions[open++] = (model){.begun = at, .last = at, .ended = NONE, .next = ordinal, .taken = ordinal};
            break;
        case 2: add(KEY_ADD, NONE, NONE, 0); break;
        case 3: add(dice % 5 == 0 ? DICTIONARY : KEY_REVOKE, NONE, NONE, 0); break;
        case 4:
            if (open > 0) add(CHUNK, which, NONE, m->next);
            break;
        case 6:
            if (open == 0 || m->ended != NONE) break;
            writes_of[at] = which;
            ordinal_of[at] = m->writes;
            add_writes(which, m->writes++, dice);
            break;
        case 5:
            if (open > 0 && m->ended == NONE && dice % 5 == 0) {
                add(END, which, m->last, 0);
                m->ended = at;
            }
            break;
        default:
            if (open == 0 || m->ended != NONE) break;
            session_of[at] = which;
            ordinal_of[at] = m->next;
            add(CHECKPOINT, which, m->last, m->next++);
            if (dice % 7 == 0) {
                entries[at][3] = 1;
                store_u64(entries[at] + 112, dice);
                seal(at);
            }
            m->last = at;
        }
    }
}

static aegis_chain out[SESSIONS];
static uint8_t points[MAX * AEGIS_POINT_SIZE], requests[MAX * AEGIS_REQUEST_SIZE], writes[MAX * AEGIS_WRITES_SIZE];

/* What was taken after records [first, end), against the list. */
static bool check_taken(aegis_chains *c, uint32_t first, uint32_t end) {
    uint64_t session_count = 0, point_count = 0, request_count = 0, writes_count = 0, at = 0, found = 0;
    if (!EXPECT_OK(aegis_chains_size(c, &session_count, &point_count, &request_count, &writes_count))) return false;
    if (!EXPECT(session_count <= SESSIONS && point_count <= MAX)) return false;
    if (!EXPECT_OK(aegis_chains_take(c, out, points, requests, writes))) return false;
    for (uint32_t i = first; i < end; i++) {
        if (session_of[i] == NONE || (entries[i][3] & 1) == 0) continue;
        const uint8_t *request = requests + found++ * AEGIS_REQUEST_SIZE;
        uint32_t number = sessions[session_of[i]].begun;
        const uint8_t key[6] = {0, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
        EXPECT_BYTES(request, key, 6);
        EXPECT_BYTES(request + 6, entries[i] + 112, 8);
        EXPECT_EQ_U64(load_u32(request + 14), ordinal_of[i]);
    }
    EXPECT_EQ_U64(request_count, found);
    found = 0;
    for (uint32_t i = first; i < end; i++) {
        if (writes_of[i] == NONE) continue;
        const uint8_t *one = writes + found++ * AEGIS_WRITES_SIZE;
        uint32_t number = sessions[writes_of[i]].begun;
        const uint8_t key[6] = {0, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
        EXPECT_BYTES(one, key, 6);
        EXPECT_BYTES(one + 6, entries[i] + 112, 8);
        EXPECT_EQ_U64(load_u32(one + 14), ordinal_of[i]);
        EXPECT(load_u32(one + 18) == i && load_u16(one + 22) == 0);
    }
    EXPECT_EQ_U64(writes_count, found);
    for (uint64_t n = 0; n < session_count; n++) {
        uint32_t which = 0;
        while (which < SESSIONS && sessions[which].begun != out[n].number) which++;
        if (!EXPECT(which < SESSIONS) || !EXPECT(n == 0 || out[n - 1].number < out[n].number)) return false;
        uint32_t newest = sessions[which].begun, made = 0, ordinal = NONE;
        uint64_t ended = UINT64_MAX;
        EXPECT_BYTES(out[n].tag, entries[newest] + 8, 16);
        EXPECT_EQ_U64(out[n].points_at, at);
        for (uint32_t i = 0; i < end; i++) {
            if (entries[i][1] == END && memcmp(entries[i] + 8, out[n].tag, 16) == 0) ended = i;
            if (session_of[i] != which) continue;
            newest = i;
            ordinal = ordinal_of[i];
            if (i < first) continue;
            const uint8_t *point = points + (at + made) * AEGIS_POINT_SIZE;
            EXPECT_EQ_U64(load_u32(point), i);
            EXPECT_EQ_U64(load_u32(point + 6), 1000 + i);
            EXPECT_EQ_U64(out[n].ordinal + made, ordinal);
            made++;
        }
        EXPECT_EQ_U64(out[n].points, made);
        EXPECT_EQ_U64(load_u32(out[n].head), ordinal);
        EXPECT_EQ_U64(load_u64(out[n].head + 4), newest);
        EXPECT_EQ_U64(load_u64(out[n].head + 12), 1000 + newest);
        EXPECT_EQ_U64(load_u64(out[n].head + 20), ended);
        EXPECT_BYTES(out[n].head + 28, records[newest].leaf, HASH_SIZE);
        uint32_t written = 0;
        for (uint32_t i = 0; i < end; i++) written += writes_of[i] == which;
        EXPECT_EQ_U64(load_u32(out[n].head + 60), written);
        at += made;
    }
    return EXPECT_EQ_U64(at, point_count);
}

TEST(any_sound_log_is_folded_in_any_steps) {
    uint64_t seed = 11;
    aegis_chains *c = start();
    write_log(&seed);
    for (uint32_t first = 0, end = 0; first < MAX; first = end) {
        uint32_t wanted = 0;
        /* Several calls before what they made is taken. */
        for (int steps = 0; steps < 30 && end < MAX; steps++) {
            uint32_t from = end;
            end = (uint32_t)min_u64(MAX, end + 1 + next_random(&seed) % 256);
            if (!EXPECT_OK(take_in(c, from, end))) return;
            wanted = 0;
            for (uint32_t i = from; i < end; i++) {
                unsigned kind = entries[i][1];
                if (kind != BEGIN && kind != KEY_ADD && kind != KEY_REVOKE && kind != DICTIONARY) continue;
                EXPECT(wanted < told_count && told[wanted] == i - from);
                wanted++;
            }
            EXPECT_EQ_U64(told_count, wanted);
        }
        if (!check_taken(c, first, end)) return;
    }
    uint64_t a, b, d, e;
    EXPECT_OK(aegis_chains_size(c, &a, &b, &d, &e));
    EXPECT(a == 0 && b == 0 && d == 0 && e == 0);
    aegis_chains_end(c);
    aegis_chains_end(NULL);
}

/* ---- what is not sound ------------------------------------------------------------------------------------------------ */

/* One session of two checkpoints, and room for one more entry. */
static aegis_chains *begin_small(void) {
    aegis_chains *c = start();
    add(BEGIN, 0, NONE, 0);
    add(CHECKPOINT, 0, 0, 0);
    add(CHECKPOINT, 0, 1, 1);
    EXPECT_OK(take_in(c, 0, 3));
    return c;
}

/* The entry that was added last is refused by that code, and named. */
static void refused(aegis_chains *c, int code) {
    aegis_error error;
    EXPECT_CODE(take_in(c, count - 1, count), code);
    aegis_last_error(&error);
    EXPECT_EQ_U64(error.first, records[count - 1].index);
    EXPECT_EQ_U64(error.tier, tier);
    aegis_chains_end(c);
}

/* The next checkpoint, with one byte of it changed. */
static void changed(size_t at, uint8_t to, int code) {
    aegis_chains *c = begin_small();
    add(CHECKPOINT, 0, 2, 2);
    entries[3][at] = to;
    if (at == 1) entries[3][1] = to;
    seal(3);
    if (code != AEGIS_OK) {
        refused(c, code);
        return;
    }
    EXPECT_OK(take_in(c, 3, 4));
    aegis_chains_end(c);
}

TEST(condition_1_indices_follow_one_another) {
    aegis_chains *c = begin_small();
    add(CHECKPOINT, 0, 2, 2);
    records[3].index = 4;
    refused(c, AEGIS_E_ARGUMENT);
    c = start();
    add(KEY_ADD, NONE, NONE, 0);
    add(KEY_ADD, NONE, NONE, 0);
    refused(c, AEGIS_E_ARGUMENT);
}

TEST(condition_2_length_version_flags_kind_and_tier) {
    changed(72, 9, AEGIS_OK);
    changed(0, 1, AEGIS_E_VERSION);
    changed(3, 2, AEGIS_E_VERSION);
    changed(1, 0, AEGIS_E_VERSION);
    changed(1, 6, AEGIS_E_CORRUPT);    /* it is known, and has no parent */
    changed(1, 9, AEGIS_E_CORRUPT);    /* it is known, and not in this tier */
    changed(1, 10, AEGIS_E_CORRUPT);
    changed(1, 11, AEGIS_E_VERSION);
    changed(1, 16, AEGIS_E_VERSION);
    changed(1, 17, AEGIS_E_VERSION);
    changed(2, 1, AEGIS_E_FOREIGN);
    for (uint32_t length = 175; length <= 185; length++) {
        for (uint8_t flags = 0; flags < 2; flags++) {
            aegis_chains *c = begin_small();
            add(CHECKPOINT, 0, 2, 2);
            entries[3][3] = flags;
            records[3].entry_length = length;
            if (length == (flags ? 184 : 176)) EXPECT_OK(take_in(c, 3, 4));
            else EXPECT_CODE(take_in(c, 3, 4), AEGIS_E_CORRUPT);
            aegis_chains_end(c);
        }
    }
    aegis_chains *c = begin_small();
    add(CHECKPOINT, 0, 2, 2);
    records[3].kind = CHUNK;
    refused(c, AEGIS_E_FOREIGN);
}

TEST(condition_2_links_stand_in_their_tiers_and_make_chains_there) {
    static const unsigned kinds[] = {CHECKPOINT, AUDIT_EVENT, MEMORY_ITEM};
    static const uint32_t tiers[] = {AEGIS_TIER_SESSION, AEGIS_TIER_AUDIT, AEGIS_TIER_MEMORY};
    for (int in = 0; in < 3; in++) {
        for (int of = 1; of < 3; of++) {
            tier = tiers[in];
            aegis_chains *c = start();
            add(BEGIN, 0, NONE, 0);
            EXPECT_OK(take_in(c, 0, 1));
            add(kinds[of], 0, 0, 0);
            if (in == of) {
                entries[1][3] = 1;    /* a request tag: any link may have one */
                seal(1);
                EXPECT_OK(take_in(c, 1, 2));
                EXPECT_EQ_U64(told_count, 0);
                uint64_t session_count, point_count, request_count, writes_count;
                EXPECT_OK(aegis_chains_size(c, &session_count, &point_count, &request_count, &writes_count));
                EXPECT(session_count == 1 && point_count == 1 && request_count == 1);
                add(kinds[of], 0, NONE, 1);
            }
            refused(c, AEGIS_E_CORRUPT);
        }
    }
    tier = AEGIS_TIER_SESSION;
}

static void alone(unsigned kind, uint32_t session, uint32_t parent, uint32_t ordinal, int code) {
    aegis_chains *c = begin_small();
    add(kind, session, parent, ordinal);
    if (code != AEGIS_OK) {
        refused(c, code);
        return;
    }
    EXPECT_OK(take_in(c, 3, 4));
    aegis_chains_end(c);
}

TEST(condition_3_a_parent_where_one_has_to_be_and_nowhere_else) {
    alone(CHECKPOINT, 0, NONE, 2, AEGIS_E_CORRUPT);
    alone(END, 0, NONE, 2, AEGIS_E_CORRUPT);
    alone(KEY_ADD, NONE, 2, 0, AEGIS_E_CORRUPT);
    alone(DICTIONARY, NONE, 2, 0, AEGIS_E_CORRUPT);
    alone(KEY_REVOKE, NONE, 2, 0, AEGIS_E_CORRUPT);
    alone(CHUNK, 0, 2, 2, AEGIS_E_CORRUPT);
    alone(CHUNK, 0, NONE, 2, AEGIS_OK);
    aegis_chains *c = begin_small();
    add(BEGIN, 1, NONE, 0);
    entries[3][50] = 1;    /* a leaf hash without an index */
    refused(c, AEGIS_E_CORRUPT);
    c = begin_small();
    add(CHECKPOINT, 0, 2, 2);
    memset(entries[3] + 40, 0, HASH_SIZE);    /* an index without a leaf hash */
    refused(c, AEGIS_E_CORRUPT);
}

TEST(condition_4_tags_ordinals_and_request_tags) {
    alone(CHUNK, NONE, NONE, 2, AEGIS_E_CORRUPT);
    alone(BEGIN, NONE, NONE, 0, AEGIS_E_CORRUPT);
    alone(KEY_ADD, 0, NONE, 0, AEGIS_E_CORRUPT);
    alone(KEY_ADD, NONE, NONE, 1, AEGIS_E_CORRUPT);
    alone(DICTIONARY, 0, NONE, 0, AEGIS_E_CORRUPT);
    alone(DICTIONARY, NONE, NONE, 1, AEGIS_E_CORRUPT);
    alone(KEY_REVOKE, NONE, NONE, 1, AEGIS_E_CORRUPT);
    alone(BEGIN, 1, NONE, 1, AEGIS_E_CORRUPT);
    alone(BEGIN, 1, 2, 0, AEGIS_E_CORRUPT);
    alone(BEGIN, 1, 2, 2, AEGIS_OK);
    aegis_chains *c = begin_small();
    add(END, 0, 2, 0);
    entries[3][3] = 1;
    seal(3);
    refused(c, AEGIS_E_CORRUPT);
}

/* What belongs to the log as a whole, and what belongs to a session and is beside its chain: all of it is told. */
TEST(conditions_3_and_4_of_kinds_that_are_no_part_of_a_chain) {
    static const unsigned of_log[] = {KEY_ADD, KEY_REVOKE, DICTIONARY, PRUNE}, beside[] = {HOLD, HOLD_RELEASE, ERASE};
    for (int i = 0; i < 4; i++) {
        alone(of_log[i], NONE, NONE, 0, AEGIS_OK);
        EXPECT(told_count == 1 && told[0] == 0);
        alone(of_log[i], 0, NONE, 0, AEGIS_E_CORRUPT);
        alone(of_log[i], NONE, 2, 0, AEGIS_E_CORRUPT);
        alone(of_log[i], NONE, NONE, 1, AEGIS_E_CORRUPT);
    }
    for (int i = 0; i < 3; i++) {
        alone(beside[i], 0, NONE, 0, AEGIS_OK);
        EXPECT(told_count == 1 && told[0] == 0);
        alone(beside[i], 0, NONE, 77, AEGIS_OK);
        alone(beside[i], 5, NONE, 0, AEGIS_OK);    /* of a session that others ask for */
        alone(beside[i], NONE, NONE, 0, AEGIS_E_CORRUPT);
        alone(beside[i], 0, 2, 0, AEGIS_E_CORRUPT);
        aegis_chains *c = begin_small();
        add(beside[i], 0, NONE, 0);
        entries[3][3] = 1;
        seal(3);
        refused(c, AEGIS_E_CORRUPT);
        /* The chain goes on as if it were not there, and so it does behind a session's end. */
        c = begin_small();
        add(beside[i], 0, NONE, 5);
        add(CHECKPOINT, 0, 2, 2);
        add(END, 0, 4, 0);
        add(beside[i], 0, NONE, 5);
        EXPECT_OK(take_in(c, 3, count));
        EXPECT(told_count == 2 && told[0] == 0 && told[1] == 3);
        aegis_chains_end(c);
    }
    alone(CHUNK, 0, NONE, 2, AEGIS_OK);
    EXPECT_EQ_U64(told_count, 0);
}

/* Its entry is all that is asked; the caller sees by its flags that what was told has no payload. */
TEST(a_stub_is_folded_as_what_it_was) {
    aegis_chains *c = begin_small();
    add(BEGIN, 1, NONE, 0);
    add(CHECKPOINT, 1, 3, 0);
    records[3].flags = records[4].flags = AEGIS_RECORD_GAP;
    EXPECT_OK(take_in(c, 3, 5));
    EXPECT(told_count == 1 && told[0] == 0);
    aegis_chains_end(c);
}

TEST(condition_5_a_session_begins_once_and_first_and_its_end_is_the_last) {
    alone(BEGIN, 0, NONE, 0, AEGIS_E_FOREIGN);
    alone(CHECKPOINT, 1, 2, 2, AEGIS_E_FOREIGN);
    alone(END, 1, 2, 2, AEGIS_E_FOREIGN);
    for (unsigned kind = CHECKPOINT; kind <= END; kind++) {
        for (uint32_t parent = 2; parent <= 3; parent++) {
            aegis_chains *c = begin_small();
            add(END, 0, 2, 0);
            EXPECT_OK(take_in(c, 3, 4));
            add(kind, 0, parent, 2);
            refused(c, AEGIS_E_FOREIGN);
        }
    }
}

TEST(condition_6_the_parent_is_the_last_record_of_the_session) {
    alone(CHECKPOINT, 0, 2, 2, AEGIS_OK);
    alone(CHECKPOINT, 0, 1, 2, AEGIS_E_FOREIGN);
    alone(END, 0, 1, 2, AEGIS_E_FOREIGN);
    alone(END, 0, 2, 77, AEGIS_OK);
    changed(34, 1, AEGIS_E_FOREIGN);
    changed(39, 1, AEGIS_E_FOREIGN);
    changed(40, (uint8_t)(records[2].leaf[0] ^ 1), AEGIS_E_FOREIGN);
    changed(71, (uint8_t)(records[2].leaf[31] ^ 1), AEGIS_E_FOREIGN);
}

TEST(condition_4_writes_have_a_session_a_request_tag_and_no_parent) {
    aegis_chains *c = begin_small();
    add(WRITES, 0, NONE, 0);
    refused(c, AEGIS_E_CORRUPT);
    c = begin_small();
    add_writes(NONE, 0, 7);
    refused(c, AEGIS_E_CORRUPT);
    c = begin_small();
    add(WRITES, 0, 2, 0);
    entries[3][3] = 1;
    seal(3);
    refused(c, AEGIS_E_CORRUPT);
}

TEST(condition_8_writes_count_up_in_an_open_session_of_the_session_tier) {
    aegis_chains *c = begin_small();
    add_writes(0, 0, 7);
    add_writes(0, 1, 7);
    add(CHECKPOINT, 0, 2, 2);    /* the chain goes on as if they were not there */
    add_writes(0, 2, 8);
    EXPECT_OK(take_in(c, 3, count));
    EXPECT_EQ_U64(told_count, 0);
    add_writes(0, 2, 8);         /* put at the end once more */
    refused(c, AEGIS_E_FOREIGN);
    for (uint32_t ordinal = 0; ordinal < 2; ordinal++) {
        c = begin_small();
        add_writes(ordinal, 1 - ordinal, 7);    /* out of order, or of a session that never began */
        refused(c, AEGIS_E_FOREIGN);
    }
    c = begin_small();
    add(END, 0, 2, 0);
    EXPECT_OK(take_in(c, 3, 4));
    add_writes(0, 0, 7);
    refused(c, AEGIS_E_FOREIGN);
    tier = AEGIS_TIER_MEMORY;
    c = start();
    add(BEGIN, 0, NONE, 0);
    EXPECT_OK(take_in(c, 0, 1));
    add_writes(0, 0, 7);
    refused(c, AEGIS_E_CORRUPT);
    tier = AEGIS_TIER_SESSION;
}

TEST(condition_7_ordinals_count_up) {
    alone(CHECKPOINT, 0, 2, 1, AEGIS_E_FOREIGN);
    alone(CHECKPOINT, 0, 2, 3, AEGIS_E_FOREIGN);
    for (uint32_t ordinal = 4; ordinal <= 6; ordinal++) {
        aegis_chains *c = begin_small();
        add(BEGIN, 1, 2, 5);
        EXPECT_OK(take_in(c, 3, 4));
        add(CHECKPOINT, 1, 3, ordinal);
        if (ordinal == 5) {
            EXPECT_OK(take_in(c, 4, 5));
            aegis_chains_end(c);
        } else {
            refused(c, AEGIS_E_FOREIGN);
        }
    }
    aegis_chains *c = begin_small();
    add(BEGIN, 1, 2, UINT32_MAX);
    EXPECT_OK(take_in(c, 3, 4));
    add(CHECKPOINT, 1, 3, UINT32_MAX);
    refused(c, AEGIS_E_FOREIGN);
}

TEST(calls_without_chains_are_refused) {
    aegis_chains *c = NULL;
    uint64_t n = 0;
    EXPECT_CODE(aegis_chains_start(0, &c), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_chains_start(5, &c), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_chains_add(NULL, entries[0], records, 1, told, &told_count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_chains_size(NULL, &n, &n, &n, &n), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_chains_take(NULL, out, points, requests, writes), AEGIS_E_ARGUMENT);
}
