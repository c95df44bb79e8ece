/* unlisted: see unlisted.h. */
#include "unlisted.h"

enum { AT_ONCE = 64 };

/* Names seen in one listing, as many as have room; whoever removes them lists again. */
typedef struct names {
    log *l;
    bool of_listed;          /* wanted: those with the place of a listed segment; else the others */
    uint64_t numbers[AT_ONCE];
    unsigned count;
    bool others;             /* there are some of the other sort */
} names;

static int note(void *context, const char *name) {
    names *n = context;
    uint64_t number = 0;
    bool placed = false;
    if (!segment_number(name, &number)) return AEGIS_OK;
    const manifest_tier *t = &n->l->manifest->tiers[n->l->s.tier];
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->segments[i].number == number) return AEGIS_OK;
        placed = placed || segment_place(t->segments[i].number) == segment_place(number);
    }
    if (placed != n->of_listed) n->others = true;
    else if (n->count < AT_ONCE) n->numbers[n->count++] = number;
    return AEGIS_OK;
}

static int check_empty(log *l, uint64_t number) {
    vfs *v = l->s.vfs;
    char name[SEGMENT_NAME_SIZE];
    uint8_t bytes[FRAME_HEADER] = {0};
    vfs_file *file = NULL;
    size_t got = 0;
    segment_name(number, name);
    const place where = {.tier = l->s.tier, .segment = number, .path = name};
    TRY(v->open(v, l->dir, name, VFS_READ, &file));
    int code = v->read(v, file, SEGMENT_FRAMES, bytes, sizeof bytes, &got);
    v->close(v, file);
    TRY(code);
    if (all_zero(bytes, sizeof bytes) || MUTANT(NO_UNLISTED_TEST)) return AEGIS_OK;
    return fail_at(AEGIS_E_CORRUPT, &where, "segment %s holds records and the manifest does not name it", name);
}

static int remove_all(log *l, const names *n) {
    for (unsigned i = 0; i < n->count; i++) {
        char name[SEGMENT_NAME_SIZE];
        segment_name(n->numbers[i], name);
        TRY(l->s.vfs->unlink(l->s.vfs, l->dir, name));
    }
    return AEGIS_OK;
}

int unlisted_remove_empty(log *l, bool *left) {
    names n = {.l = l, .of_listed = false};
    TRY(l->s.vfs->list(l->s.vfs, l->dir, note, &n));
    for (unsigned i = 0; i < n.count; i++) TRY(check_empty(l, n.numbers[i]));
    *left = n.others;
    return remove_all(l, &n);
}

int unlisted_remove_replaced(log *l) {
    names n;
    do {
        n = (names){.l = l, .of_listed = true};
        TRY(l->s.vfs->list(l->s.vfs, l->dir, note, &n));
        TRY(remove_all(l, &n));
    } while (n.count == AT_ONCE);
    return AEGIS_OK;
}
