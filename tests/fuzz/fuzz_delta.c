/* fuzz_delta: a chain of deltas, restored; and a delta that is made.
 *
 *   mode 1 | keyframe: length 1, bytes | limit 2 | length asked for 2 (0xffff: what the oracle makes) | deltas: length 1, bytes …
 *   mode with MODE_OTHER: base: length 2, bytes | capacity 2 | the rest is the target
 *
 * Demanded: a chain is accepted if and only if a second decoder, written from docs/FORMAT.md, "Delta", step by step and without pieces,
 * makes the same bytes of it; a delta that is made is restored to its target and fits its room; and no byte outside is read.
 */
#include "delta.h"
#include "fuzz.h"

FUZZ_WITHOUT(NO_COPY_TEST)

enum { LINKS_MAX = 8, STATE_MAX = 1 << 16, ANY_LENGTH = 0xffff };

typedef struct state {
    uint8_t bytes[STATE_MAX];
    uint64_t length;
} state;

static state states[2];
static uint8_t restored[STATE_MAX], made[STATE_MAX];

/* ---- the second decoder -------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const uint8_t *at, *end;
    bool bad;
} reader;

static uint64_t number(reader *r) {
    uint64_t value = 0;
    for (unsigned shift = 0; r->at < r->end && shift < 64; shift += 7) {
        uint8_t byte = *r->at++;
        if (shift == 63 && byte > 1) break;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            r->bad = r->bad || (byte == 0 && shift > 0);
            return value;
        }
    }
    r->bad = true;
    return 0;
}

enum verdict { GOOD, BAD, TOO_LARGE };

static enum verdict follow(const state *base, const uint8_t *delta, size_t length, uint64_t limit, state *target) {
    reader r = {delta, delta + length, false};
    uint64_t says = number(&r), size = number(&r), next = 0;
    if (r.bad || size > (uint64_t)(r.end - r.at)) return BAD;
    if (says > limit) return TOO_LARGE;
    const uint8_t *literal = r.at + size, *end = r.end;
    r.end = literal;
    target->length = 0;
    bool last = false;
    while (r.at < r.end) {
        if (last) return BAD;
        uint64_t insert = number(&r), copy = number(&r);
        if (r.bad || insert > (uint64_t)(end - literal) || insert > says - target->length) return BAD;
        memcpy(target->bytes + target->length, literal, (size_t)insert);
        literal += insert;
        target->length += insert;
        last = copy == 0;
        if (last && insert == 0) return BAD;
        if (last) continue;
        uint64_t away = number(&r), from = next + (away >> 1 ^ (0 - (away & 1)));
        if (r.bad || from > base->length || copy > base->length - from || copy > says - target->length) return BAD;
        memcpy(target->bytes + target->length, base->bytes + from, (size_t)copy);
        target->length += copy;
        next = from + copy;
    }
    return target->length == says && literal == end ? GOOD : BAD;
}

/* ---- the two ways --------------------------------------------------------------------------------------------------------- */

static void restore_chain(input *in) {
    const uint8_t *deltas[LINKS_MAX] = {NULL};
    uint64_t lengths[LINKS_MAX] = {0};
    uint8_t *owned[LINKS_MAX], *keyframe;
    uint32_t count = 0;
    state *base = &states[0], *target = &states[1];
    base->length = take_u8(in);
    take(in, base->bytes, (size_t)base->length);
    keyframe = own(base->bytes, (size_t)base->length);
    uint64_t keyframe_length = base->length, limit = take_u16(in), asked = take_u16(in);
    enum verdict verdict = GOOD;
    while (in->left > 0 && count < LINKS_MAX) {
        lengths[count] = take_u8(in);
        if (lengths[count] > in->left) lengths[count] = in->left;
        deltas[count] = owned[count] = own(in->at, (size_t)lengths[count]);
        in->at += lengths[count];
        in->left -= (size_t)lengths[count];
        if (verdict == GOOD) verdict = follow(base, owned[count], (size_t)lengths[count], limit, target);
        state *swapped = base;
        base = target;
        target = swapped;
        count++;
    }
    uint64_t length = asked == ANY_LENGTH && verdict == GOOD ? base->length : asked;
    int code = delta_restore(keyframe, keyframe_length, deltas, lengths, count, limit, restored, length);
    DEMAND(code == (verdict == TOO_LARGE ? AEGIS_E_LIMIT : verdict == GOOD && length == base->length ? AEGIS_OK : AEGIS_E_CORRUPT));
    if (code == AEGIS_OK) DEMAND(memcmp(restored, base->bytes, (size_t)length) == 0);
    for (uint32_t i = 0; i < count; i++) free(owned[i]);
    free(keyframe);
}

static void make_one(input *in) {
    uint64_t base_length = take_u16(in), capacity = take_u16(in), length = 0;
    if (base_length > in->left) base_length = in->left;
    uint8_t *base = own(in->at, (size_t)base_length), *target = own(in->at + base_length, in->left - (size_t)base_length);
    uint64_t target_length = in->left - base_length;
    int code = delta_make(base, base_length, target, target_length, made, capacity, &length);
    DEMAND(code == AEGIS_OK || code == AEGIS_E_SPACE);
    if (code == AEGIS_OK) {
        uint8_t *exact = own(made, (size_t)length);
        const uint8_t *delta = exact;
        DEMAND(length <= capacity);
        DEMAND(delta_restore(base, base_length, &delta, &length, 1, target_length, restored, target_length) == AEGIS_OK);
        DEMAND(memcmp(restored, target, (size_t)target_length) == 0);
        free(exact);
    }
    free(base);
    free(target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    if (take_u8(&in) & MODE_OTHER) make_one(&in);
    else restore_chain(&in);
    return 0;
}
