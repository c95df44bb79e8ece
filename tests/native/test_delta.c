/* delta.c: what is made is restored, in any chain; the bytes of the format; and what a stranger may have written. */
#include "check.h"

#include "delta.h"

enum { MOST = 200000, LIMIT = 1 << 20 };

static uint8_t base[MOST], target[MOST], made[MOST + 64], back[LIMIT];

/* ---- one delta -------------------------------------------------------------------------------------------------------- */

static uint64_t make(uint64_t base_length, uint64_t target_length) {
    uint64_t length = 0;
    EXPECT_OK(delta_make(base, base_length, target, target_length, made, sizeof made, &length));
    return length;
}

static int restore(const uint8_t *from, uint64_t from_length, const uint8_t *delta, uint64_t length, uint64_t target_length) {
    return delta_restore(from, from_length, &delta, &length, 1, LIMIT, back, target_length);
}

static bool comes_back(uint64_t base_length, uint64_t target_length, uint64_t *length) {
    uint64_t n = make(base_length, target_length);
    if (length != NULL) *length = n;
    memset(back, 0xa5, sizeof back);
    return EXPECT_OK(restore(base, base_length, made, n, target_length)) && EXPECT_BYTES(back, target, target_length);
}

TEST(states_of_no_bytes) {
    uint64_t length = 0;
    EXPECT(comes_back(0, 0, &length));
    EXPECT_EQ_U64(length, 2);
    memset(base, 1, 100);
    EXPECT(comes_back(100, 0, &length));
    EXPECT_EQ_U64(length, 2);
    memset(target, 2, 100);
    EXPECT(comes_back(0, 100, &length));
    EXPECT_EQ_U64(length, 2 + 2 + 100);
}

TEST(an_equal_state_takes_a_few_bytes) {
    uint64_t seed = 1, length = 0;
    fill_random(&seed, base, MOST);
    memcpy(target, base, MOST);
    EXPECT(comes_back(MOST, MOST, &length));
    EXPECT_EQ_U64(length, 3 + 1 + 5);
}

TEST(an_edit_anywhere_takes_the_bytes_of_the_edit) {
    uint64_t seed = 2, length = 0;
    fill_random(&seed, base, MOST);
    for (uint64_t at = 0; at < 100000; at += 777) {
        memcpy(target, base, 100000);
        target[at] ^= 1;
        EXPECT(comes_back(100000, 100000, &length) && length < 24);
        memmove(target + at + 30, base + at, 100000 - at);      /* 30 bytes more */
        fill_random(&seed, target + at, 30);
        EXPECT(comes_back(100000, 100030, &length) && length < 24 + 30);
        uint64_t gone = at + 50 > 100000 ? 0 : 50;
        memcpy(target, base, at);
        memcpy(target + at, base + at + gone, 100000 - at - gone);
        EXPECT(comes_back(100000, 100000 - gone, &length) && length < 24);
    }
}

TEST(edits_at_both_ends_and_a_block_that_moved) {
    uint64_t seed = 3, length = 0;
    fill_random(&seed, base, MOST);
    memcpy(target, base, 60000);
    target[3]++;                                                /* a time stamp at the front */
    fill_random(&seed, target + 60000, 500);                    /* a message more */
    EXPECT(comes_back(60000, 60500, &length) && length < 500 + 40);
    memcpy(target, base + 30000, 30000);                        /* two halves change places */
    memcpy(target + 30000, base, 30000);
    EXPECT(comes_back(60000, 60000, &length) && length < 40);
}

/* Where bases are long their remembered places are far apart: what is kept between two edits is found if it is long enough. */
TEST(edits_of_a_long_state) {
    enum { LONG = 9 << 20 };
    uint64_t seed = 4, length = 0, delta_length = 0;
    uint8_t *a = malloc(LONG), *b = malloc(LONG), *out = malloc(LONG), *delta = malloc(LONG);
    fill_random(&seed, a, LONG);
    memcpy(b, a, LONG);
    for (uint64_t at = 0; at < LONG; at += 100003) b[at]++;
    EXPECT_OK(delta_make(a, LONG, b, LONG, delta, LONG, &length));
    EXPECT(length < 95 * 12);
    const uint8_t *one = delta;
    delta_length = length;
    EXPECT_OK(delta_restore(a, LONG, &one, &delta_length, 1, LONG, out, LONG));
    EXPECT_BYTES(out, b, LONG);
    fill_random(&seed, b, LONG);                                /* nothing in common */
    EXPECT_CODE(delta_make(a, LONG, b, LONG, delta, LONG, &length), AEGIS_E_SPACE);
    free(a), free(b), free(out), free(delta);
}

/* Texts of few words, cut, moved, repeated and mixed with noise: every way of finding and missing. */
static uint64_t write_text(uint64_t *seed, uint8_t *to, uint64_t length) {
    static const char *const words[] = {"{\"role\": \"user\", ", "\"content\": \"", "the flight ", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "\n", "0", "}]"};
    uint64_t n = 0;
    while (n < length) {
        const char *word = words[next_random(seed) % 7];
        for (; *word != '\0' && n < length; word++) to[n++] = (uint8_t)*word;
    }
    return n;
}

static uint64_t edit(uint64_t *seed, const uint8_t *from, uint64_t length, uint8_t *to, uint64_t capacity) {
    uint64_t n = 0, at = 0;
    for (unsigned parts = 1 + (unsigned)(next_random(seed) % 6); parts > 0; parts--) {
        uint64_t part = next_random(seed) % 3000;
        if (part > capacity - n) part = capacity - n;
        switch (next_random(seed) % 4) {
        case 0: n += write_text(seed, to + n, part % 300); break;
        case 1: fill_random(seed, to + n, part % 100), n += part % 100; break;
        case 2: if (length > 0) at = next_random(seed) % length; break;
        default: break;
        }
        if (part > length - at) part = length - at;
        if (part > capacity - n) part = capacity - n;
        memcpy(to + n, from + at, part);
        n += part;
        at += part;
    }
    return n;
}

TEST(whatever_was_edited_comes_back) {
    uint64_t seed = 5;
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t length = write_text(&seed, base, next_random(&seed) % 4000);
        EXPECT(comes_back(length, edit(&seed, base, length, target, 8000), NULL));
    }
}

TEST(a_delta_that_has_no_room_is_not_made) {
    uint64_t seed = 6, length = 0, needed;
    write_text(&seed, base, 3000);
    uint64_t n = edit(&seed, base, 3000, target, 5000);
    needed = make(3000, n);
    for (uint64_t room = 0; room < needed; room++) {
        made[room] = 0x5a;
        EXPECT_CODE(delta_make(base, 3000, target, n, made, room, &length), AEGIS_E_SPACE);
        EXPECT_EQ_U64(made[room], 0x5a);
    }
    EXPECT_OK(delta_make(base, 3000, target, n, made, needed, &length));
    EXPECT_CODE(delta_make(base, (uint64_t)UINT32_MAX + 1, target, n, made, needed, &length), AEGIS_E_LIMIT);
}

/* ---- chains ----------------------------------------------------------------------------------------------------------- */

enum { LINKS = 64, STATE_MAX = 40000 };

static uint8_t states[LINKS + 1][STATE_MAX], links[LINKS][STATE_MAX + 64];

TEST(every_state_of_a_chain_comes_back) {
    uint64_t seed = 7, length[LINKS + 1], link_length[LINKS];
    const uint8_t *link[LINKS];
    for (unsigned round = 0; round < 20; round++) {
        length[0] = write_text(&seed, states[0], round == 0 ? 0 : 8000);
        for (unsigned i = 0; i < LINKS; i++) {
            length[i + 1] = edit(&seed, states[i], length[i], states[i + 1], STATE_MAX);
            EXPECT_OK(delta_make(states[i], length[i], states[i + 1], length[i + 1], links[i], sizeof links[i], &link_length[i]));
            link[i] = links[i];
        }
        for (uint32_t n = 0; n <= LINKS; n++) {
            if (!EXPECT_OK(delta_restore(states[0], length[0], link, link_length, n, LIMIT, back, length[n]))) return;
            EXPECT_BYTES(back, states[n], length[n]);
        }
    }
}

/* ---- by hand ---------------------------------------------------------------------------------------------------------- */

/* A delta in the making: operations and literals, put together by finish(). */
typedef struct hand {
    uint64_t target, expected;
    size_t operations_length, literals_length;
    uint8_t operations[400000], literals[1000];
} hand;

static hand h;

static size_t put_number(uint8_t *to, uint64_t v) {
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) to[n++] = (uint8_t)(v | 0x80);
    to[n++] = (uint8_t)v;
    return n;
}

static void number(uint64_t v) { h.operations_length += put_number(h.operations + h.operations_length, v); }

static void begin(void) { h.target = h.expected = h.operations_length = h.literals_length = 0; }

static void operation(uint64_t insert, uint64_t copy, uint64_t from) {
    number(insert);
    number(copy);
    memset(h.literals + h.literals_length, 'x', insert);
    h.literals_length += insert;
    h.target += insert + copy;
    if (copy == 0) return;
    int64_t away = (int64_t)from - (int64_t)h.expected;
    number((uint64_t)away << 1 ^ (uint64_t)(away >> 63));
    h.expected = from + copy;
}

static uint64_t finish(uint8_t *to) {
    size_t n = put_number(to, h.target);
    n += put_number(to + n, h.operations_length);
    memcpy(to + n, h.operations, h.operations_length);
    memcpy(to + n + h.operations_length, h.literals, h.literals_length);
    return n + h.operations_length + h.literals_length;
}

TEST(the_bytes_of_the_format) {
    static const uint8_t expected[] = {41, 6, 3, 8, 4, 0, 30, 16, 'x', 'x', 'x'};    /* FORMAT.md, "Delta" */
    for (uint8_t i = 0; i < 60; i++) base[i] = i;
    memcpy(target, "xxx", 3);
    memcpy(target + 3, base + 2, 8);
    memcpy(target + 11, base + 18, 30);
    begin();
    operation(3, 8, 2);
    operation(0, 30, 18);
    EXPECT_EQ_U64(finish(made), sizeof expected);
    EXPECT_BYTES(made, expected, sizeof expected);
    EXPECT_OK(restore(base, 60, expected, sizeof expected, 41));
    EXPECT_BYTES(back, target, 41);
    begin();                                                    /* backwards, and to the very end of the base */
    operation(0, 10, 50);
    operation(0, 60, 0);
    operation(2, 0, 0);
    uint64_t n = finish(made);
    EXPECT_OK(restore(base, 60, made, n, 72));
    EXPECT(memcmp(back, base + 50, 10) == 0 && memcmp(back + 10, base, 60) == 0 && memcmp(back + 70, "xx", 2) == 0);
}

/* Turned round in ever smaller pieces, the pieces of pieces would grow without end: they are copied together on the way. */
TEST(fragments_of_fragments_come_back) {
    enum { LENGTH = 40000, TURNS = 24, TURN_MAX = 200000 };
    uint64_t seed = 8, lengths[TURNS];
    const uint8_t *deltas[TURNS];
    uint8_t *room = malloc((size_t)TURNS * TURN_MAX);
    fill_random(&seed, base, LENGTH);
    memcpy(target, base, LENGTH);
    for (unsigned i = 0; i < TURNS; i++) {
        static uint8_t turned[LENGTH];
        uint64_t part = 1 + i % 5, done = 0;
        begin();
        for (uint64_t at = LENGTH; at > 0; done += part) {
            part = min_u64(1 + i % 5, at);
            at -= part;
            operation(0, part, at);
            memcpy(turned + done, target + at, part);
        }
        memcpy(target, turned, LENGTH);
        lengths[i] = finish(room + (size_t)i * TURN_MAX);
        EXPECT(lengths[i] <= TURN_MAX);
        deltas[i] = room + (size_t)i * TURN_MAX;
        EXPECT_OK(delta_restore(base, LENGTH, deltas, lengths, i + 1, LIMIT, back, LENGTH));
        EXPECT_BYTES(back, target, LENGTH);
    }
    free(room);
}

/* ---- what a stranger may have written --------------------------------------------------------------------------------- */

/* The delta made by hand, to a base of 60 bytes, with `what` expected and what the error says. */
static void refused(const char *says) {
    aegis_error error;
    uint64_t n = finish(made);
    EXPECT_CODE(restore(base, 60, made, n, h.target), AEGIS_E_CORRUPT);
    aegis_last_error(&error);
    if (!EXPECT(strstr(error.message, says) != NULL)) printf("    %s\n", error.message);
}

TEST(operations_that_reach_beyond_are_refused) {
    begin(), operation(0, 61, 0), refused("copies what is not there");
    begin(), operation(0, 1, 60), refused("copies what is not there");
    begin(), operation(0, 1, 61), refused("copies what is not there");
    begin(), operation(0, 10, 0), operation(0, 10, (uint64_t)-5), refused("copies what is not there");
    begin(), operation(0, UINT64_MAX - 30, 40), h.target = 50, refused("copies what is not there");
    begin(), operation(0, 10, UINT64_MAX - 5), refused("copies what is not there");
    begin(), operation(5, 10, 0), h.target = 14, refused("copies what is not there");
    begin(), operation(5, 10, 0), h.target = 4, refused("inserts more than it has");
    begin(), operation(5, 10, 0), h.literals_length = 4, refused("inserts more than it has");
    begin(), operation(5, 10, 0), h.literals_length = 6, refused("does not make what it says");
    begin(), operation(5, 10, 0), h.target = 16, refused("does not make what it says");
    begin(), operation(5, 0, 0), operation(0, 10, 0), refused("an operation that does nothing");
    begin(), operation(0, 10, 0), operation(0, 0, 0), refused("an operation that does nothing");
    begin(), operation(0, 10, 0), h.operations_length--, h.literals_length = 0, refused("an operation that is none");
    begin(), number(3), refused("an operation that is none");
    begin(), operation(0, 10, 0), h.operations[0] = 0x80, h.operations[1] = 0, refused("an operation that is none");
}

TEST(numbers_in_another_form_are_refused) {
    static const uint8_t long_zero[] = {0x80, 0x00, 0x00}, endless[] = {0x80, 0x80}, too_large[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0},
                         past_the_end[] = {0, 1};
    EXPECT_CODE(restore(base, 60, long_zero, sizeof long_zero, 0), AEGIS_E_CORRUPT);
    EXPECT_CODE(restore(base, 60, endless, sizeof endless, 0), AEGIS_E_CORRUPT);
    EXPECT_CODE(restore(base, 60, too_large, sizeof too_large, 0), AEGIS_E_CORRUPT);
    EXPECT_CODE(restore(base, 60, past_the_end, sizeof past_the_end, 0), AEGIS_E_CORRUPT);
    EXPECT_CODE(restore(base, 60, made, 0, 0), AEGIS_E_CORRUPT);
}

TEST(another_length_than_asked_for_is_refused_and_a_state_over_the_limit) {
    begin();
    operation(0, 60, 0);
    operation(0, 60, 0);
    uint64_t n = finish(made);
    const uint8_t *delta = made;
    EXPECT_CODE(restore(base, 60, made, n, 119), AEGIS_E_CORRUPT);
    EXPECT_CODE(delta_restore(base, 60, &delta, &n, 1, 119, back, 120), AEGIS_E_LIMIT);
    EXPECT_OK(delta_restore(base, 60, &delta, &n, 1, 120, back, 120));
    EXPECT_CODE(delta_restore(base, 60, NULL, NULL, 0, 120, back, 59), AEGIS_E_CORRUPT);
}

/* Doubling by every link: bytes that no limit allows, or pieces that no list holds. */
TEST(a_bomb_is_put_out) {
    const uint8_t *deltas[LINKS];
    uint64_t lengths[LINKS], n = 0, length = 60;
    static uint8_t small[LINKS][32];
    for (; n < LINKS && 2 * length <= LIMIT; n++, length *= 2) {
        begin(), operation(0, length, 0), operation(0, length, 0);
        lengths[n] = finish(small[n]);
        deltas[n] = small[n];
    }
    EXPECT_OK(delta_restore(base, 60, deltas, lengths, (uint32_t)n, LIMIT, back, length));
    begin(), operation(0, length, 0), operation(0, length, 0);
    lengths[n] = finish(small[n]);
    deltas[n] = small[n];
    EXPECT_CODE(delta_restore(base, 60, deltas, lengths, (uint32_t)n + 1, LIMIT, back, 2 * length), AEGIS_E_LIMIT);
}

/* Any change of any delta either is refused or makes as many bytes as it says: nothing is read or written elsewhere (asan). */
TEST(a_changed_delta_does_no_harm) {
    uint64_t seed = 9;
    for (unsigned round = 0; round < 3000; round++) {
        uint64_t length = write_text(&seed, base, next_random(&seed) % 2000);
        uint64_t n = make(length, edit(&seed, base, length, target, 4000));
        uint8_t *exact = malloc(n + 1);
        memcpy(exact, made, n);
        for (unsigned changes = 1 + (unsigned)(next_random(&seed) % 3); changes > 0; changes--)
            exact[next_random(&seed) % n] ^= (uint8_t)(1u << next_random(&seed) % 8);
        uint64_t shorter = next_random(&seed) % 4 == 0 ? next_random(&seed) % (n + 1) : n;
        int code = restore(base, length, exact, shorter, next_random(&seed) % 4000);
        EXPECT(code == AEGIS_OK || code == AEGIS_E_CORRUPT || code == AEGIS_E_LIMIT);
        free(exact);
    }
}
