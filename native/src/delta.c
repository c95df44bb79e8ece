/* delta: see delta.h. */
#include "delta.h"

#include <inttypes.h>
#include <stdlib.h>

/* What one look at the base compares, how far apart its remembered places are at least, and the shortest copy that is worth its
 * operation (measured on recorded sessions: docs/decisions/0011). */
#define KEY 8
#define STEP_MIN 16
#define COPY_MIN 16
/* A base of any length has at most so many remembered places: their table stays in the processor's cache. */
#define PLACES_MAX (1u << 16)
#define NO_PLACE UINT32_MAX
/* Where nothing was found for long, only each 2nd … 16th byte is looked at: what is long enough is found all the same. */
#define HURRY_SHIFT 9
#define HURRY_MAX 16
/* A list of pieces may be so long, and longer by a piece for so many bytes, before fragments are copied together. */
#define PIECES_FREE 4096
#define PIECE_BYTES 64

#define VARINT_MAX 10

/* ---- numbers ---------------------------------------------------------------------------------------------------------- */

static unsigned varint_size(uint64_t v) {
    unsigned n = 1;
    while (v >= 0x80) v >>= 7, n++;
    return n;
}

static uint8_t *put_varint(uint8_t *to, uint64_t v) {
    while (v >= 0x80) {
        *to++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *to++ = (uint8_t)v;
    return to;
}

static uint64_t zigzag(int64_t v) { return (uint64_t)v << 1 ^ (uint64_t)(v >> 63); }
static int64_t unzigzag(uint64_t v) { return (int64_t)(v >> 1) ^ -(int64_t)(v & 1); }

/* ---- making ----------------------------------------------------------------------------------------------------------- */

typedef struct operation {
    uint32_t insert;
    uint32_t copy;
    uint32_t from;               /* of the base */
} operation;

typedef struct maker {
    const uint8_t *base, *target;
    uint64_t base_length, target_length;
    uint32_t *places;            /* by the hash of the KEY bytes that stand there */
    unsigned hash_shift;
    operation *operations;
    uint64_t count;
    uint64_t copied;             /* where in the base the last copy ended */
    uint64_t inserted;           /* literals of all operations */
} maker;

/* Whether 32 bytes are the same. States are the same for most of their length: this is what a delta of one takes its time for. */
static bool same_32(const uint8_t *a, const uint8_t *b) {
    uint64_t first = load_u64(a) ^ load_u64(b), second = load_u64(a + 8) ^ load_u64(b + 8);
    uint64_t third = load_u64(a + 16) ^ load_u64(b + 16), fourth = load_u64(a + 24) ^ load_u64(b + 24);
    return ((first | second) | (third | fourth)) == 0;
}

/* How many bytes are the same from here on, at most `most`. */
static uint64_t same_after(const uint8_t *a, const uint8_t *b, uint64_t most) {
    uint64_t n = 0;
    while (n + 32 <= most && same_32(a + n, b + n)) n += 32;
    while (n + 8 <= most && memcmp(a + n, b + n, 8) == 0) n += 8;
    while (n < most && a[n] == b[n]) n++;
    return n;
}

/* The same of the bytes that end here. */
static uint64_t same_before(const uint8_t *a, const uint8_t *b, uint64_t most) {
    uint64_t n = 0;
    while (n + 32 <= most && same_32(a - n - 32, b - n - 32)) n += 32;
    while (n + 8 <= most && memcmp(a - n - 8, b - n - 8, 8) == 0) n += 8;
    while (n < most && a[-(int64_t)n - 1] == b[-(int64_t)n - 1]) n++;
    return n;
}

static uint64_t hash_of(const maker *m, const uint8_t *key) {
    return load_u64(key) * 0x9e3779b97f4a7c15 >> m->hash_shift;
}

/* An operation of `insert` literals and a copy; part of the one before where it goes on there. */
static void add(maker *m, uint64_t insert, uint64_t copy, uint64_t from) {
    operation *last = m->count > 0 ? &m->operations[m->count - 1] : NULL;
    m->inserted += insert;
    if (last != NULL && last->copy == 0) {
        *last = (operation){(uint32_t)(last->insert + insert), (uint32_t)copy, (uint32_t)from};
    } else if (last != NULL && insert == 0 && m->copied == from) {
        last->copy += (uint32_t)copy;
    } else if (insert > 0 || copy > 0) {
        m->operations[m->count++] = (operation){(uint32_t)insert, (uint32_t)copy, (uint32_t)from};
    }
    m->copied = copy > 0 ? from + copy : m->copied;
}

static int remember_places(maker *m) {
    uint64_t step = STEP_MIN * (1 + m->base_length / ((uint64_t)STEP_MIN * PLACES_MAX));
    unsigned bits = 6;
    while (((uint64_t)1 << bits) < 2 * m->base_length / step) bits++;
    m->hash_shift = 64 - bits;
    m->places = malloc(sizeof *m->places << bits);
    if (m->places == NULL) return fail(AEGIS_E_NOMEM, "no memory to compare %" PRIu64 " bytes", m->base_length);
    memset(m->places, 0xff, sizeof *m->places << bits);
    for (uint64_t at = 0; at + KEY <= m->base_length; at += step) m->places[hash_of(m, m->base + at)] = (uint32_t)at;
    return AEGIS_OK;
}

/* Finds what of target[from .. end) stands in the base. */
static void search(maker *m, uint64_t from, uint64_t end) {
    uint64_t at = from;
    while (at + KEY <= end) {
        uint64_t best = 0, place = 0, found = m->places[hash_of(m, m->target + at)];
        if (found != NO_PLACE) {
            best = same_after(m->base + found, m->target + at, min_u64(m->base_length - found, end - at));
            place = found;
            /* Of several like places, that where the last copy would go on is the likeliest to go on longest. */
            uint64_t ahead = m->copied + (at - from);
            if (ahead != found && ahead < m->base_length) {
                uint64_t length = same_after(m->base + ahead, m->target + at, min_u64(m->base_length - ahead, end - at));
                if (length > best) best = length, place = ahead;
            }
        }
        uint64_t before = best == 0 ? 0 : same_before(m->base + place, m->target + at, min_u64(place, at - from));
        if (best + before < COPY_MIN) {
            at += 1 + min_u64((at - from) >> HURRY_SHIFT, HURRY_MAX - 1);
            continue;
        }
        add(m, at - before - from, best + before, place - before);
        from = at = at + best;
    }
    add(m, end - from, 0, 0);
}

static int find_operations(maker *m) {
    uint64_t shorter = min_u64(m->base_length, m->target_length);
    uint64_t head = same_after(m->base, m->target, shorter);
    uint64_t tail = same_before(m->base + m->base_length, m->target + m->target_length, shorter - head);
    uint64_t end = m->target_length - tail;
    m->operations = malloc(sizeof *m->operations * ((end - head) / COPY_MIN + 4));
    if (m->operations == NULL) return fail(AEGIS_E_NOMEM, "no memory to compare %" PRIu64 " bytes", m->target_length);
    if (head > 0) add(m, 0, head, 0);
    if (end - head >= COPY_MIN && m->base_length >= KEY) {
        TRY(remember_places(m));
        search(m, head, end);
    } else {
        add(m, end - head, 0, 0);
    }
    add(m, 0, tail, m->base_length - tail);
    return AEGIS_OK;
}

/* Bytes that the operations take, and where `to` is given, the operations. */
static uint64_t put_operations(const maker *m, uint8_t *to) {
    uint64_t size = 0, expected = 0;
    for (uint64_t i = 0; i < m->count; i++) {
        const operation *o = &m->operations[i];
        uint64_t away = zigzag((int64_t)o->from - (int64_t)expected);
        size += varint_size(o->insert) + varint_size(o->copy) + (o->copy > 0 ? varint_size(away) : 0);
        expected = (uint64_t)o->from + o->copy;
        if (to == NULL) continue;
        to = put_varint(put_varint(to, o->insert), o->copy);
        if (o->copy > 0) to = put_varint(to, away);
    }
    return size;
}

static int put_delta(const maker *m, uint8_t *out, uint64_t capacity, uint64_t *length) {
    uint64_t size = put_operations(m, NULL);
    *length = varint_size(m->target_length) + varint_size(size) + size + m->inserted;
    if (*length > capacity) return fail(AEGIS_E_SPACE, "a delta takes %" PRIu64 " bytes, and %" PRIu64 " are there", *length, capacity);
    out = put_varint(put_varint(out, m->target_length), size);
    put_operations(m, out);
    out += size;
    const uint8_t *from = m->target;
    for (uint64_t i = 0; i < m->count; i++) {
        const operation *o = &m->operations[i];
        memcpy(out, from, o->insert);
        out += o->insert;
        from += (uint64_t)o->insert + o->copy;
    }
    return AEGIS_OK;
}

int delta_make(const uint8_t *base, uint64_t base_length, const uint8_t *target, uint64_t target_length, uint8_t *out,
               uint64_t capacity, uint64_t *length) {
    if (base_length > UINT32_MAX || target_length > UINT32_MAX)
        return fail(AEGIS_E_LIMIT, "a delta is of at most %" PRIu32 " bytes", UINT32_MAX);
    maker m = {.base = base, .base_length = base_length, .target = target, .target_length = target_length};
    int code = find_operations(&m);
    if (code == AEGIS_OK) code = put_delta(&m, out, capacity, length);
    free(m.operations);
    free(m.places);
    return code;
}

/* ---- restoring -------------------------------------------------------------------------------------------------------- */

/* A delta taken apart. */
typedef struct parts {
    uint64_t target;             /* length */
    const uint8_t *operations, *operations_end;
    const uint8_t *literals, *literals_end;
} parts;

/* Bytes that stand somewhere; `end` is where they end in the state that the list is of. */
typedef struct piece {
    const uint8_t *bytes;
    uint64_t end;
} piece;

typedef struct list {
    piece *pieces;
    uint64_t count, capacity;
} list;

static int malformed(uint32_t link, const char *what) {
    return fail(AEGIS_E_CORRUPT, "delta %" PRIu32 " of a chain %s", link, what);
}

/* False where there is none, or one in more bytes than it takes. */
static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *v) {
    const uint8_t *start = *at;
    *v = 0;
    for (unsigned n = 0; n < VARINT_MAX && *at < end; n++) {
        uint8_t byte = *(*at)++;
        if (n == VARINT_MAX - 1 && byte > 1) return false;
        *v |= (uint64_t)(byte & 0x7f) << 7 * n;
        if (byte < 0x80) return byte > 0 || *at - start == 1 || MUTANT(NO_VARINT_FORM_TEST);
    }
    return false;
}

static int take_apart(const uint8_t *delta, uint64_t length, uint32_t link, parts *out) {
    const uint8_t *at = delta, *end = delta + length;
    uint64_t size = 0;
    if (!take_varint(&at, end, &out->target) || !take_varint(&at, end, &size) || size > (uint64_t)(end - at))
        return malformed(link, "does not begin as one");
    out->operations = at;
    out->operations_end = out->literals = at + size;
    out->literals_end = end;
    return AEGIS_OK;
}

static uint64_t length_of(const list *l) { return l->count == 0 ? 0 : l->pieces[l->count - 1].end; }

static int append(list *l, const uint8_t *bytes, uint64_t length) {
    uint64_t before = length_of(l);
    if (l->count > 0) {
        piece *last = &l->pieces[l->count - 1];
        uint64_t start = l->count > 1 ? last[-1].end : 0;
        if (last->bytes + (last->end - start) == bytes) {
            last->end += length;
            return AEGIS_OK;
        }
    }
    if (l->count == l->capacity) {
        uint64_t capacity = l->capacity == 0 ? 64 : 2 * l->capacity;
        piece *larger = realloc(l->pieces, capacity * sizeof *larger);
        if (larger == NULL) return fail(AEGIS_E_NOMEM, "no memory for %" PRIu64 " pieces of a state", capacity);
        l->pieces = larger;
        l->capacity = capacity;
    }
    l->pieces[l->count++] = (piece){bytes, before + length};
    return AEGIS_OK;
}

/* The first piece that ends behind `at`. Copies mostly go on where the last one ended, at piece `near`. */
static uint64_t piece_at(const list *l, uint64_t at, uint64_t near) {
    uint64_t low = 0, high = l->count;
    if (near < l->count && (near == 0 || l->pieces[near - 1].end <= at)) {
        low = near;
        for (unsigned n = 0; n < 4 && low < high; n++, low++)
            if (l->pieces[low].end > at) return low;
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (l->pieces[middle].end > at) high = middle;
        else low = middle + 1;
    }
    return low;
}

enum { FITS = 1, TOO_MANY = 0 };

/* The target of a delta, as pieces of the base's pieces and of its literals. FITS, TOO_MANY (pieces), or an error. */
static int fold(const parts *p, uint32_t link, const list *base, uint64_t pieces_max, list *target) {
    const uint8_t *at = p->operations, *literals = p->literals;
    uint64_t base_length = length_of(base), made = 0, expected = 0, near = 0;
    target->count = 0;
    while (at < p->operations_end) {
        uint64_t insert, copy, away;
        if (!take_varint(&at, p->operations_end, &insert) || !take_varint(&at, p->operations_end, &copy))
            return malformed(link, "has an operation that is none");
        if (insert > (uint64_t)(p->literals_end - literals) || insert > p->target - made)
            return malformed(link, "inserts more than it has");
        if (insert > 0) TRY(append(target, literals, insert));
        literals += insert;
        made += insert;
        if (copy == 0) {
            if (at < p->operations_end || insert == 0) return malformed(link, "has an operation that does nothing");
            break;
        }
        if (!take_varint(&at, p->operations_end, &away)) return malformed(link, "has an operation that is none");
        uint64_t from = expected + (uint64_t)unzigzag(away);
        if ((from > base_length || copy > base_length - from || copy > p->target - made) && !MUTANT(NO_COPY_TEST))
            return malformed(link, "copies what is not there");
        made += copy;
        expected = from + copy;
        for (near = piece_at(base, from, near); from < expected; near++) {
            const piece *source = &base->pieces[near];
            uint64_t start = near > 0 ? source[-1].end : 0, length = min_u64(source->end, expected) - from;
            if (target->count >= pieces_max) return TOO_MANY;
            TRY(append(target, source->bytes + (from - start), length));
            from += length;
        }
        if (near > 0) near--;
    }
    if ((made != p->target || literals != p->literals_end) && !MUTANT(NO_DELTA_LENGTH_TEST)) return malformed(link, "does not make what it says");
    return FITS;
}

static void put_pieces(const list *l, uint8_t *out) {
    uint64_t start = 0;
    for (uint64_t i = 0; i < l->count; i++) {
        memcpy(out + start, l->pieces[i].bytes, l->pieces[i].end - start);
        start = l->pieces[i].end;
    }
}

typedef struct restorer {
    list base, target;
    uint8_t *flat;               /* fragments that were copied together */
} restorer;

/* Makes one piece of the base. */
static int flatten(restorer *r) {
    uint64_t length = length_of(&r->base);
    uint8_t *flat = malloc(length);
    if (flat == NULL) return fail(AEGIS_E_NOMEM, "no memory for a state of %" PRIu64 " bytes", length);
    put_pieces(&r->base, flat);
    free(r->flat);
    r->flat = flat;
    r->base.count = 1;
    r->base.pieces[0] = (piece){flat, length};
    return AEGIS_OK;
}

static int apply(restorer *r, const uint8_t *delta, uint64_t length, uint32_t link, uint64_t limit) {
    parts p;
    TRY(take_apart(delta, length, link, &p));
    if (p.target > limit && !MUTANT(NO_STATE_LIMIT_TEST)) return fail(AEGIS_E_LIMIT, "a state on the way has %" PRIu64 " bytes, the limit is %" PRIu64, p.target, limit);
    int code = fold(&p, link, &r->base, PIECES_FREE + length_of(&r->base) / PIECE_BYTES, &r->target);
    if (code == TOO_MANY) {
        TRY(flatten(r));
        code = fold(&p, link, &r->base, UINT64_MAX, &r->target);
    }
    if (code != FITS) return code;
    list old = r->base;
    r->base = r->target;
    r->target = old;
    return AEGIS_OK;
}

int delta_restore(const uint8_t *keyframe, uint64_t keyframe_length, const uint8_t *const *deltas, const uint64_t *lengths,
                  uint32_t count, uint64_t limit, uint8_t *out, uint64_t length) {
    restorer r = {.flat = NULL};
    int code = keyframe_length > 0 ? append(&r.base, keyframe, keyframe_length) : AEGIS_OK;
    for (uint32_t i = 0; code == AEGIS_OK && i < count; i++) code = apply(&r, deltas[i], lengths[i], i, limit);
    if (code == AEGIS_OK && length_of(&r.base) != length)
        code = fail(AEGIS_E_CORRUPT, "a chain of deltas makes %" PRIu64 " bytes, not %" PRIu64, length_of(&r.base), length);
    if (code == AEGIS_OK) put_pieces(&r.base, out);
    free(r.base.pieces);
    free(r.target.pieces);
    free(r.flat);
    return code;
}
