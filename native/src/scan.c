/* scan: see scan.h. */
#include "scan.h"

#include <stdlib.h>

#include "remains.h"

#define WINDOW 262144

void scan_start(scan *sc, const scope *s, vfs_file *file, const uint8_t *nonce, uint64_t offset, uint64_t end, uint64_t index) {
    *sc = (scan){.s = s, .file = file, .nonce = nonce, .stubs = nonce == NULL, .offset = offset, .end = end, .index = index};
}

void scan_stop(scan *sc) {
    free(sc->window);
    sc->window = NULL;
}

void scan_digest(scan *sc, sha256 *digest) {
    sc->digest = digest;
    sc->digested = sc->offset;
}

/* Hashed by the window, while it is in the processor's cache: a frame is no whole number of blocks. */
static void digest_window(scan *sc) {
    uint64_t end = sc->window_at + sc->window_length;
    if (sc->digest == NULL || sc->window_at > sc->digested || end <= sc->digested) return;
    sha256_add(sc->digest, sc->window + (sc->digested - sc->window_at), (size_t)(end - sc->digested));
    sc->digested = end;
}

/* Makes `length` bytes at `at` readable through *bytes; *got is less where the scan's end comes first. */
static int view(scan *sc, uint64_t at, uint64_t length, const uint8_t **bytes, uint64_t *got) {
    *got = at >= sc->end ? 0 : min_u64(length, sc->end - at);
    if (at >= sc->window_at && at + *got <= sc->window_at + sc->window_length) {
        *bytes = sc->window + (at - sc->window_at);
        return AEGIS_OK;
    }
    size_t wanted = (size_t)max_u64(*got, WINDOW);
    if (wanted > sc->capacity) {
        uint8_t *grown = realloc(sc->window, wanted);
        if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for a window of %zu bytes", wanted);
        sc->window = grown;
        sc->capacity = wanted;
    }
    sc->window_at = at;
    sc->window_length = 0;
    size_t length_read = (size_t)min_u64(sc->capacity, at >= sc->end ? 0 : sc->end - at);
    TRY(sc->s->vfs->read(sc->s->vfs, sc->file, at, sc->window, length_read, &sc->window_length));
    digest_window(sc);
    *got = min_u64(*got, sc->window_length);
    *bytes = sc->window;
    return AEGIS_OK;
}

/* The frame at `offset`, with the index that it gives itself where `expected` is NULL. */
static int frame_at(scan *sc, uint64_t offset, const uint64_t *expected, scanned *out) {
    uint64_t got = 0;
    TRY(view(sc, offset, FRAME_HEADER, &out->bytes, &got));
    if (got < FRAME_HEADER) return AEGIS_E_TORN;
    TRY(frame_parse(out->bytes, sc->end - offset, &out->head));
    if (frame_is_stub(&out->head) && !sc->stubs && !MUTANT(NO_STUB_PLACE_TEST)) return AEGIS_E_CORRUPT;
    if (!MUTANT(NO_SCAN_INDEX_TEST) && expected != NULL && out->head.index != *expected) return AEGIS_E_CORRUPT;
    /* Entry and link first: they cost little whatever length the header claims, so that garbage cannot make a search slow. */
    uint64_t linked = (uint64_t)FRAME_HEADER + out->head.entry_length;
    TRY(view(sc, offset, linked, &out->bytes, &got));
    if (got < linked) return AEGIS_E_TORN;
    out->offset = offset;
    leaf_hash(frame_entry(out->bytes), out->head.entry_length, out->leaf);
    if (sc->nonce != NULL) TRY(frame_check_link(sc->s, &out->head, sc->nonce, offset, out->leaf));
    TRY(view(sc, offset, out->head.size, &out->bytes, &got));
    if (got < out->head.size) return AEGIS_E_TORN;
    return frame_check_body(sc->s, &out->head, out->bytes, out->head.index);
}

int scan_digest_rest(scan *sc, bool *whole) {
    uint64_t got = 1;
    while (sc->digested < sc->end && got > 0 && sc->window_at <= sc->digested) {
        const uint8_t *bytes = NULL;
        TRY(view(sc, sc->digested, min_u64(WINDOW, sc->end - sc->digested), &bytes, &got));
    }
    *whole = sc->digested == sc->end;
    return AEGIS_OK;
}

int scan_next(scan *sc, scanned *out) {
    TRY(frame_at(sc, sc->offset, &sc->index, out));
    sc->offset += out->head.size;
    sc->index++;
    if (out->head.flags & FRAME_LAST) sc->offset = align_up(sc->offset, sc->s->align);
    return AEGIS_OK;
}

int scan_find(scan *sc, scanned *out) {
    uint64_t at = align_up(sc->offset, FRAME_ALIGN);
    while (at + FRAME_HEADER <= sc->end) {
        const uint8_t *bytes = NULL;
        uint64_t got = 0;
        TRY(view(sc, at, FRAME_HEADER, &bytes, &got));
        if (got < FRAME_HEADER) break;
        got = sc->window_at + sc->window_length - at;    /* all that is there: what was read once is not read again */
        /* Zeros and foreign bytes are passed over at the speed of memory; only a magic is worth a closer look. */
        uint64_t i = 0;
        while (i + FRAME_HEADER <= got && !frame_may_start(bytes + i)) i += FRAME_ALIGN;
        at += i;
        if (i + FRAME_HEADER > got) continue;
        int code = frame_at(sc, at, NULL, out);
        if (code == AEGIS_OK) {
            sc->offset = at + out->head.size;
            sc->index = out->head.index + 1;
        }
        if (code != AEGIS_E_TORN && code != AEGIS_E_CORRUPT) return code;
        at += FRAME_ALIGN;
    }
    return AEGIS_E_TORN;
}

int scan_remains(scan *sc, const uint8_t *hint, uint8_t leaf[HASH_SIZE], uint64_t *size) {
    const uint8_t *bytes = NULL;
    uint64_t got = 0;
    frame head;
    if (sc->nonce == NULL) return AEGIS_E_PROOF;
    TRY(view(sc, sc->offset, REMAINS_BYTES, &bytes, &got));
    TRY(remains_leaf(sc->s, sc->nonce, sc->offset, sc->index, bytes, got, hint, leaf));
    frame_fields(bytes, &head);
    *size = head.size;
    return AEGIS_OK;
}

int scan_zeros(scan *sc, uint64_t offset, uint64_t end, bool *zeros) {
    *zeros = true;
    while (offset < end && *zeros) {
        const uint8_t *bytes = NULL;
        uint64_t got = 0;
        TRY(view(sc, offset, min_u64(WINDOW, end - offset), &bytes, &got));
        if (got == 0) break;
        *zeros = all_zero(bytes, (size_t)got);
        offset += got;
    }
    return AEGIS_OK;
}
