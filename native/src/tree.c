/* tree: see tree.h. */
#include "tree.h"

#include <stdlib.h>

#include "sha256.h"

#define TILE_BYTES (TILE_WIDTH * HASH_SIZE)
#define HEIGHT 8u
/* Where the nodes of height h start: 0, 256, 384, … */
#define TILE_NODE(h, i) (512u - (512u >> (h)) + (unsigned)(i))
_Static_assert(TILE_NODE(8, 0) == TILE_NODES - 1, "the tile's root is its last node");
_Static_assert(TREE_LEVELS * HEIGHT == 64, "levels cover every size");

int tree_init(tree *t, const scope *s, vfs_dir *dir, bool writable, uint64_t cache_bytes, tree_leaf_fn leaves, void *context) {
    *t = (tree){.s = s, .dir = dir, .writable = writable, .leaves = leaves, .context = context};
    t->cache_count = (uint32_t)max_u64(8, min_u64(cache_bytes, 1u << 30) / sizeof(tile));
    /* Tiles are megabytes, and most stay unused: keys, counts and widths say which hold something, so nothing is zeroed. */
    t->cache = malloc(t->cache_count * sizeof *t->cache);
    t->cache_keys = calloc(t->cache_count, sizeof *t->cache_keys);
    t->cache_uses = calloc(t->cache_count, sizeof *t->cache_uses);
    t->cache_made = calloc(t->cache_count, sizeof *t->cache_made);
    t->cache_proven = calloc(t->cache_count, sizeof *t->cache_proven);
    t->pending = malloc(TREE_PENDING * sizeof *t->pending);
    tile *edges = malloc(TREE_LEVELS * sizeof *edges);
    for (unsigned level = 0; level < TREE_LEVELS; level++) {
        t->edges[level] = edges == NULL ? NULL : edges + level;
        if (edges != NULL) edges[level].number = 0;
    }
    if (t->cache != NULL && t->cache_keys != NULL && t->cache_uses != NULL && t->cache_made != NULL &&
        t->cache_proven != NULL && t->pending != NULL && edges != NULL) return AEGIS_OK;
    tree_free(t);
    return fail(AEGIS_E_NOMEM, "no memory for the tree's cache of %u tiles", (unsigned)t->cache_count);
}

void tree_free(tree *t) {
    free(t->edges[0]);
    free(t->cache);
    free(t->cache_keys);
    free(t->cache_uses);
    free(t->cache_made);
    free(t->cache_proven);
    free(t->pending);
    t->edges[0] = NULL;
    t->cache = NULL;
    t->cache_keys = NULL;
    t->cache_uses = NULL;
    t->cache_made = NULL;
    t->cache_proven = NULL;
    t->pending = NULL;
}

/* ---- tiles on disk -------------------------------------------------------------------------------------------------- */

/* "007" at `to`, zero-terminated. */
static void three_digits(char *to, unsigned n) {
    to[0] = (char)('0' + n / 100 % 10);
    to[1] = (char)('0' + n / 10 % 10);
    to[2] = (char)('0' + n % 10);
    to[3] = 0;
}

/* The folder of a tile below tiles/, opened, and the tile's own name. Folders are made where `create` is set. */
static int tile_place(const tree *t, uint32_t level, uint64_t number, bool create, vfs_dir **dir, char name[8]) {
    vfs *v = t->s->vfs;
    char part[8] = {(char)('0' + level), 0};
    unsigned groups[7];
    unsigned count = 0;
    for (uint64_t n = number; count == 0 || n > 0; n /= 1000) groups[count++] = (unsigned)(n % 1000);
    TRY(v->open_dir(v, t->dir, part, create ? VFS_CREATE : VFS_READ, dir));
    while (--count > 0) {
        vfs_dir *below = NULL;
        part[0] = 'x';
        three_digits(part + 1, groups[count]);
        int code = v->open_dir(v, *dir, part, create ? VFS_CREATE : VFS_READ, &below);
        v->close_dir(v, *dir);
        TRY(code);
        *dir = below;
    }
    three_digits(name, groups[0]);
    return AEGIS_OK;
}

static int write_file(vfs *v, vfs_dir *dir, const char *name, const uint8_t *bytes, size_t length) {
    vfs_file *file = NULL;
    TRY(v->open(v, dir, name, VFS_WRITE | VFS_CREATE, &file));
    int code = v->write(v, file, 0, bytes, length);
    if (code == AEGIS_OK) code = v->truncate(v, file, length);    /* one that is too long would never be read */
    v->close(v, file);
    return code;
}

/* True where the file was there and had the right length. It may still be wrong: nothing here is believed for being there. */
static bool read_file(vfs *v, vfs_dir *dir, const char *name, uint8_t *bytes, size_t length) {
    vfs_file *file = NULL;
    size_t got = 0;
    uint64_t size = 0;
    if (v->open(v, dir, name, VFS_READ, &file) != AEGIS_OK) return false;
    bool whole = v->size(v, file, &size) == AEGIS_OK && size == length &&
                 v->read(v, file, 0, bytes, length, &got) == AEGIS_OK && got == length;
    v->close(v, file);
    return whole;
}

int tree_write_tile(const tree *t, const pending_tile *tile) {
    vfs_dir *dir = NULL;
    char name[8];
    if (t->dir == NULL || !t->writable) return AEGIS_OK;
    TRY(tile_place(t, tile->level, tile->number, true, &dir, name));
    int code = write_file(t->s->vfs, dir, name, tile->hashes[0], TILE_BYTES);
    t->s->vfs->close_dir(t->s->vfs, dir);
    return code;
}

static bool read_tile(const tree *t, uint32_t level, uint64_t number, tile *into) {
    vfs_dir *dir = NULL;
    char name[8];
    if (t->dir == NULL || tile_place(t, level, number, false, &dir, name) != AEGIS_OK) return false;
    bool there = read_file(t->s->vfs, dir, name, into->nodes[0], TILE_BYTES);
    t->s->vfs->close_dir(t->s->vfs, dir);
    return there;
}

bool tree_hint(const tree *t, uint64_t index, uint8_t leaf[HASH_SIZE]) {
    tile *there = malloc(sizeof *there);
    bool found = there != NULL && read_tile(t, 0, index / TILE_WIDTH, there);
    if (found) memcpy(leaf, there->nodes[index % TILE_WIDTH], HASH_SIZE);
    free(there);
    return found;
}

/* "015.p" / "66": C2SP's partial tiles. */
static int partial_place(const tree *t, uint32_t level, bool create, vfs_dir **dir, char width[8]) {
    char name[8], folder[12];
    vfs_dir *above = NULL;
    TRY(tile_place(t, level, t->edges[level]->number, create, &above, name));
    memcpy(folder, name, 3);
    memcpy(folder + 3, ".p", 3);
    three_digits(width, t->widths[level]);
    while (*width == '0') memmove(width, width + 1, 3);
    int code = t->s->vfs->open_dir(t->s->vfs, above, folder, create ? VFS_CREATE : VFS_READ, dir);
    t->s->vfs->close_dir(t->s->vfs, above);
    return code;
}

int tree_write_edges(tree *t) {
    if (t->dir == NULL || !t->writable) return AEGIS_OK;
    /* Level 0 is read from the log itself as fast: its records are the newest. */
    for (unsigned level = 1; level < TREE_LEVELS; level++) {
        vfs_dir *dir = NULL;
        char width[8];
        if (t->widths[level] == 0) continue;
        TRY(partial_place(t, level, true, &dir, width));
        int code = write_file(t->s->vfs, dir, width, t->edges[level]->nodes[0], (size_t)t->widths[level] * HASH_SIZE);
        t->s->vfs->close_dir(t->s->vfs, dir);
        TRY(code);
    }
    return AEGIS_OK;
}

static bool read_partial(const tree *t, unsigned level, uint8_t *bytes) {
    vfs_dir *dir = NULL;
    char width[8];
    if (t->dir == NULL || partial_place(t, level, false, &dir, width) != AEGIS_OK) return false;
    bool there = read_file(t->s->vfs, dir, width, bytes, (size_t)t->widths[level] * HASH_SIZE);
    t->s->vfs->close_dir(t->s->vfs, dir);
    return there;
}

/* ---- tiles in memory ------------------------------------------------------------------------------------------------ */

/* Computes the inner nodes that `width` hashes of height 0 give. */
static void fill_inner(tile *tl, unsigned width) {
    for (unsigned h = 1; h <= HEIGHT; h++)
        for (unsigned i = 0; i < width >> h; i++)
            node_hash(tl->nodes[TILE_NODE(h - 1, 2 * i)], tl->nodes[TILE_NODE(h - 1, 2 * i + 1)], tl->nodes[TILE_NODE(h, i)]);
}

/* Never 0, which is an empty place. */
static uint64_t cache_key(uint32_t level, uint64_t number) { return ((uint64_t)level << 56 | number) + 1; }

static tile *cached(tree *t, uint32_t level, uint64_t number) {
    uint64_t key = cache_key(level, number);
    uint32_t at = t->cache_keys[t->last_hit] == key ? t->last_hit : 0;    /* a proof asks the same tile eight times */
    while (at < t->cache_count && t->cache_keys[at] != key) at++;
    if (at == t->cache_count) return NULL;
    t->cache_uses[at] = ++t->uses;
    t->last_hit = at;
    return &t->cache[at];
}

/* A place for a tile: its own, an empty one, or that of the least recently used. */
static tile *cache_room(tree *t, uint32_t level, uint64_t number) {
    tile *own = cached(t, level, number);
    uint32_t oldest = 0;
    if (own != NULL) return own;
    for (uint32_t i = 0; i < t->cache_count; i++)
        if (t->cache_uses[i] < t->cache_uses[oldest]) oldest = i;
    t->cache_keys[oldest] = cache_key(level, number);
    t->cache_uses[oldest] = ++t->uses;
    return &t->cache[oldest];
}

static pending_tile *pending_of(const tree *t, uint32_t level, uint64_t number) {
    for (uint32_t i = 0; i < t->pending_count; i++) {
        pending_tile *p = &t->pending[(t->pending_first + i) % TREE_PENDING];
        if (p->level == level && p->number == number) return p;
    }
    return NULL;
}

static void add_pending(tree *t, uint32_t level, const tile *tl) {
    if (t->dir == NULL || !t->writable) return;
    pending_tile *p = pending_of(t, level, tl->number);    /* made again: the newer one is the better one */
    if (p == NULL && t->pending_count == TREE_PENDING) {
        t->pending_first = (t->pending_first + 1) % TREE_PENDING;
        t->pending_count--;
    }
    if (p == NULL) p = &t->pending[(t->pending_first + t->pending_count++) % TREE_PENDING];
    p->level = level;
    p->number = tl->number;
    memcpy(p->hashes, tl->nodes, TILE_BYTES);
}

bool tree_take_pending(tree *t, pending_tile *out) {
    if (t->pending_count == 0) return false;
    memcpy(out, &t->pending[t->pending_first], sizeof *out);
    t->pending_first = (t->pending_first + 1) % TREE_PENDING;
    t->pending_count--;
    t->written++;
    return true;
}

static int finished_tile(tree *t, bool trust, uint32_t level, uint64_t number, const tile **out);

/* The 256 hashes of a finished tile, made from the level below: the log itself for level 0. */
static int rebuild(tree *t, bool trust, uint32_t level, uint64_t number, tile *into) {
    uint64_t first = number * TILE_WIDTH;
    t->rebuilt++;
    if (level == 0) return t->leaves(t->context, first, TILE_WIDTH, (uint8_t(*)[HASH_SIZE])into->nodes);
    /* Levels below use the same cache: the hashes are collected before a place in it is taken. */
    uint8_t(*hashes)[HASH_SIZE] = malloc(TILE_BYTES);
    if (hashes == NULL) return fail(AEGIS_E_NOMEM, "no memory for a tile");
    int code = AEGIS_OK;
    for (unsigned i = 0; i < TILE_WIDTH && code == AEGIS_OK; i++) {
        const tile *below = NULL;
        code = finished_tile(t, trust, level - 1, first + i, &below);
        if (code == AEGIS_OK) memcpy(hashes[i], below->nodes[TILE_NODES - 1], HASH_SIZE);
    }
    if (code == AEGIS_OK) memcpy(into->nodes, hashes, TILE_BYTES);
    free(hashes);
    return code;
}

/* Whether a tile that was made again has to be written: not if the disk has it so. A pass that believes nothing makes many again for
 * the sake of one, and would push that one out of the ring. */
static bool wants_writing(tree *t, uint32_t level, uint64_t number, const tile *made) {
    tile *there = malloc(sizeof *there);
    bool same = there != NULL && pending_of(t, level, number) == NULL && read_tile(t, level, number, there) &&
                memcmp(there->nodes, made->nodes, TILE_BYTES) == 0;
    free(there);
    return !same;
}

/* Whether the level above says that this is not the tile. So an entry that was edited does not take the others of its tile along:
 * what the log gives then is not believed, and the tile on disk is. Before the edges stand nobody can say. */
static bool contradicted(tree *t, uint32_t level, tile *tl) {
    if (!t->standing || level + 1 == TREE_LEVELS || MUTANT(NO_TILE_CONTRADICTION_TEST)) return false;
    const tile *above = t->edges[level + 1];
    uint64_t number = tl->number / TILE_WIDTH;
    if (number != above->number && finished_tile(t, true, level + 1, number, &above) != AEGIS_OK) return true;
    fill_inner(tl, TILE_WIDTH);
    return memcmp(above->nodes[tl->number % TILE_WIDTH], tl->nodes[TILE_NODES - 1], HASH_SIZE) != 0;
}

static int finished_tile(tree *t, bool trust, uint32_t level, uint64_t number, const tile **out) {
    tile *found = cached(t, level, number);
    if (found != NULL && (trust || t->cache_made[found - t->cache] > t->distrusted)) {
        *out = found;
        return AEGIS_OK;
    }
    tile *fresh = malloc(sizeof *fresh);
    if (fresh == NULL) return fail(AEGIS_E_NOMEM, "no memory for a tile");
    /* One that waits may have been made from a damaged one below it. */
    const pending_tile *waiting = trust ? pending_of(t, level, number) : NULL;
    int code = AEGIS_OK;
    fresh->number = number;
    if (waiting != NULL) {
        memcpy(fresh->nodes, waiting->hashes, TILE_BYTES);
    } else if (!read_tile(t, level, number, fresh) || (!trust && (!t->standing || contradicted(t, level, fresh)))) {
        code = rebuild(t, trust, level, number, fresh);
        if (code == AEGIS_OK && (trust || (!contradicted(t, level, fresh) && wants_writing(t, level, number, fresh))))
            add_pending(t, level, fresh);
    }
    if (code == AEGIS_OK) {
        tile *room = cache_room(t, level, number);
        fill_inner(fresh, TILE_WIDTH);
        memcpy(room, fresh, sizeof *fresh);
        t->cache_made[room - t->cache] = t->uses;
        t->cache_proven[room - t->cache] = false;
        *out = room;
    }
    free(fresh);
    return code;
}

/* The root of the perfect subtree of 2^level leaves at `index`, which must lie within the tree. With trust, tiles are believed;
 * without, they are made again. */
static int node_of(tree *t, bool trust, unsigned level, uint64_t index, uint8_t out[HASH_SIZE]) {
    unsigned tile_level = level / HEIGHT, height = level % HEIGHT;
    uint64_t number = (index << height) / TILE_WIDTH;
    unsigned at = (unsigned)(index - (number << (HEIGHT - height)));
    const tile *from = NULL;
    if (number == t->edges[tile_level]->number) {
        CHECK((at + 1) << height <= t->widths[tile_level]);
        from = t->edges[tile_level];
    } else {
        CHECK(number < t->edges[tile_level]->number);
        TRY(finished_tile(t, trust, tile_level, number, &from));
    }
    memcpy(out, from->nodes[TILE_NODE(height, at)], HASH_SIZE);
    return AEGIS_OK;
}

/* From here on, tiles that were made before are not believed by `distrusting`: each is made again once. */
static void distrust(tree *t) { t->distrusted = t->uses++; }

static int trusting(void *context, unsigned level, uint64_t index, uint8_t out[HASH_SIZE]) {
    return node_of(context, true, level, index, out);
}

static int distrusting(void *context, unsigned level, uint64_t index, uint8_t out[HASH_SIZE]) {
    return node_of(context, false, level, index, out);
}

/* ---- growing -------------------------------------------------------------------------------------------------------- */

static void edge_add(tree *t, unsigned level, const uint8_t hash[HASH_SIZE]) {
    tile *edge = t->edges[level];
    unsigned at = t->widths[level]++;
    memcpy(edge->nodes[at], hash, HASH_SIZE);
    for (unsigned h = 1; (at & 1) == 1; h++) {
        at >>= 1;
        node_hash(edge->nodes[TILE_NODE(h - 1, 2 * at)], edge->nodes[TILE_NODE(h - 1, 2 * at + 1)], edge->nodes[TILE_NODE(h, at)]);
        if (h == HEIGHT) break;
    }
    if (t->widths[level] < TILE_WIDTH) return;
    add_pending(t, level, edge);
    if (level + 1 < TREE_LEVELS) edge_add(t, level + 1, edge->nodes[TILE_NODES - 1]);
    edge->number++;
    t->widths[level] = 0;
}

void tree_append(tree *t, const uint8_t leaf[HASH_SIZE]) {
    edge_add(t, 0, leaf);
    /* The peaks are the truth that everything is compared with, so they are made from leaves alone and not from the edges. */
    merkle_append(&t->range, leaf);
}

static int load_edges(tree *t, bool trust) {
    for (unsigned level = 0; level < TREE_LEVELS; level++) {
        tile *edge = t->edges[level];
        uint64_t hashes = level * HEIGHT < 64 ? t->range.size >> (level * HEIGHT) : 0;
        edge->number = hashes / TILE_WIDTH;
        t->widths[level] = (unsigned)(hashes % TILE_WIDTH);
    }
    for (unsigned level = 0; level < TREE_LEVELS; level++) {
        tile *edge = t->edges[level];
        unsigned width = t->widths[level];
        uint64_t first = edge->number * TILE_WIDTH;
        if (width == 0) continue;
        if (level == 0) {
            TRY(t->leaves(t->context, first, width, (uint8_t(*)[HASH_SIZE])edge->nodes));
        } else if (!trust || !read_partial(t, level, edge->nodes[0])) {
            for (unsigned i = 0; i < width; i++) {
                const tile *below = NULL;
                TRY(finished_tile(t, trust, level - 1, first + i, &below));
                memcpy(edge->nodes[i], below->nodes[TILE_NODES - 1], HASH_SIZE);
            }
        }
        fill_inner(edge, width);
    }
    return AEGIS_OK;
}

int tree_start(tree *t, const merkle_range *range) {
    uint8_t expected[HASH_SIZE], root[HASH_SIZE];
    t->range = *range;
    t->standing = false;
    merkle_root(range, expected);
    TRY(load_edges(t, true));
    TRY(merkle_root_at(range->size, trusting, t, root));
    t->standing = memcmp(root, expected, HASH_SIZE) == 0 || MUTANT(NO_EDGE_TEST);
    if (t->standing) return AEGIS_OK;
    distrust(t);
    TRY(load_edges(t, false));
    TRY(merkle_root_at(range->size, trusting, t, root));
    t->standing = memcmp(root, expected, HASH_SIZE) == 0 || MUTANT(NO_EDGE_TEST_AGAIN);
    if (t->standing) return AEGIS_OK;
    const place where = {.tier = t->s->tier, .end = range->size};
    return fail_at(AEGIS_E_CORRUPT, &where, "the records of the log do not lead to the root in its footers");
}

/* ---- asking --------------------------------------------------------------------------------------------------------- */

/* What was made from the log itself does not hold either: an entry is damaged, and no answer is better than a wrong one. */
static int damaged(const tree *t, uint64_t size) {
    const place where = {.tier = t->s->tier, .end = size};
    return fail_at(AEGIS_E_CORRUPT, &where, "the first %llu records do not lead to the root of the log", (unsigned long long)size);
}

int tree_root_at(tree *t, uint64_t size, uint8_t root[HASH_SIZE]) {
    if (size == t->range.size) {
        merkle_root(&t->range, root);
        return AEGIS_OK;
    }
    uint8_t expected[HASH_SIZE], proof[MERKLE_MAX_PROOF][HASH_SIZE];
    unsigned count = 0;
    merkle_root(&t->range, expected);
    TRY(merkle_root_at(size, trusting, t, root));
    if (size == 0 || MUTANT(NO_OLD_ROOT_TEST)) return AEGIS_OK;
    /* An old root comes from tiles: it is believed only if it is consistent with the root in memory. */
    TRY(merkle_consistency(size, t->range.size, trusting, t, proof, &count));
    if (merkle_check_consistency(size, root, t->range.size, expected, (const uint8_t(*)[HASH_SIZE])proof, count) == AEGIS_OK)
        return AEGIS_OK;
    distrust(t);
    TRY(merkle_root_at(size, distrusting, t, root));
    TRY(merkle_consistency(size, t->range.size, distrusting, t, proof, &count));
    return merkle_check_consistency(size, root, t->range.size, expected, (const uint8_t(*)[HASH_SIZE])proof, count) == AEGIS_OK
               ? AEGIS_OK
               : damaged(t, size);
}

int tree_inclusion(tree *t, uint64_t index, uint64_t size, uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count) {
    uint8_t leaf[HASH_SIZE], root[HASH_SIZE];
    CHECK(index < size && size <= t->range.size);
    TRY(tree_root_at(t, size, root));
    TRY(node_of(t, true, 0, index, leaf));
    TRY(merkle_inclusion(index, size, trusting, t, proof, count));
    if (MUTANT(NO_INCLUSION_TEST) || merkle_check_inclusion(leaf, index, size, (const uint8_t(*)[HASH_SIZE])proof, *count, root) == AEGIS_OK)
        return AEGIS_OK;
    distrust(t);
    TRY(node_of(t, false, 0, index, leaf));
    TRY(merkle_inclusion(index, size, distrusting, t, proof, count));
    return merkle_check_inclusion(leaf, index, size, (const uint8_t(*)[HASH_SIZE])proof, *count, root) == AEGIS_OK ? AEGIS_OK
                                                                                                              : damaged(t, size);
}

int tree_consistency(tree *t, uint64_t old_size, uint64_t size, uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count) {
    uint8_t old_root[HASH_SIZE], root[HASH_SIZE];
    CHECK(old_size <= size && size <= t->range.size);
    *count = 0;
    if (old_size == 0) return AEGIS_OK;
    TRY(tree_root_at(t, old_size, old_root));
    TRY(tree_root_at(t, size, root));
    TRY(merkle_consistency(old_size, size, trusting, t, proof, count));
    if (MUTANT(NO_CONSISTENCY_TEST) ||
        merkle_check_consistency(old_size, old_root, size, root, (const uint8_t(*)[HASH_SIZE])proof, *count) == AEGIS_OK)
        return AEGIS_OK;
    distrust(t);
    TRY(merkle_consistency(old_size, size, distrusting, t, proof, count));
    return merkle_check_consistency(old_size, old_root, size, root, (const uint8_t(*)[HASH_SIZE])proof, *count) == AEGIS_OK
               ? AEGIS_OK
               : damaged(t, size);
}

/* The finished tile of a leaf if it stands in memory with that leaf, else NULL. */
static tile *tile_with(tree *t, uint64_t index, const uint8_t leaf[HASH_SIZE]) {
    tile *own = index / TILE_WIDTH < t->edges[0]->number ? cached(t, 0, index / TILE_WIDTH) : NULL;
    return own != NULL && memcmp(own->nodes[index % TILE_WIDTH], leaf, HASH_SIZE) == 0 ? own : NULL;
}

/* A leaf was proven. Where the proof was made with this very tile, all other leaves are proven as well: each is part of a node in it. */
static void note_proven(tree *t, uint64_t index, const uint8_t leaf[HASH_SIZE], uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE]) {
    const tile *own = tile_with(t, index, leaf);
    if (own == NULL) return;
    unsigned at = (unsigned)(index % TILE_WIDTH);
    for (unsigned h = 0; h < HEIGHT; h++)
        if (memcmp(proof[h], own->nodes[TILE_NODE(h, (at >> h) ^ 1)], HASH_SIZE) != 0) return;
    t->cache_proven[own - t->cache] = true;
}

/* Whether `node` is the root of the perfect subtree (level, index): AEGIS_E_PROOF if it is not. */
static int prove(tree *t, unsigned level, uint64_t index, const uint8_t node[HASH_SIZE]) {
    uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], root[HASH_SIZE];
    unsigned count = 0;
    uint64_t size = t->range.size;
    merkle_root(&t->range, root);
    TRY(merkle_subtree(level, index, size, trusting, t, proof, &count));
    if (merkle_check_subtree(node, level, index, size, (const uint8_t(*)[HASH_SIZE])proof, count, root) == AEGIS_OK) {
        if (level == 0) note_proven(t, index, node, proof);
        return AEGIS_OK;
    }
    distrust(t);
    TRY(merkle_subtree(level, index, size, distrusting, t, proof, &count));
    return merkle_check_subtree(node, level, index, size, (const uint8_t(*)[HASH_SIZE])proof, count, root);
}

int tree_prove(tree *t, uint64_t index, const uint8_t leaf[HASH_SIZE]) {
    CHECK(index < t->range.size);
    /* A finished tile that was a part of the tree stays one, however the tree grows. */
    const tile *own = tile_with(t, index, leaf);
    if (own != NULL && t->cache_proven[own - t->cache]) return AEGIS_OK;
    int code = prove(t, 0, index, leaf);
    if (code != AEGIS_E_PROOF) return code;
    const place where = {.tier = t->s->tier, .first = index, .end = index + 1};
    return fail_at(AEGIS_E_CORRUPT, &where, "record %llu is not the one that the tree was made with", (unsigned long long)index);
}

int tree_prove_tile(tree *t, uint64_t number, const uint8_t node[HASH_SIZE]) {
    CHECK(number < t->range.size / TILE_WIDTH);
    return prove(t, HEIGHT, number, node);
}
