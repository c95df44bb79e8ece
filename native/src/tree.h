/* tree: a log's Merkle tree: its right edge in memory, the rest as hash tiles on disk.
 *
 * A tile holds the hashes of 256 neighbouring perfect subtrees (C2SP tlog-tiles, height 8); its inner nodes are computed when it is
 * read. Nodes at height h of a tile stand at TILE_NODE(h, i):
 *
 *     height 0: 256 hashes, at 0 | height 1: 128, at 256 | … | height 7: 2, at 508 | height 8: the tile's root, at 510
 *
 * Every level has one unfinished tile, its edge; a finished edge is written out and its root goes one level up. Tiles are a cache:
 * what they say is believed only if it leads to the root in memory, which comes from frames and footers alone; otherwise they
 * are made again from the log. Calls are serialised by the log's mutex.
 */
#ifndef AEGIS_TREE_H
#define AEGIS_TREE_H

#include "merkle.h"
#include "scope.h"

#define TILE_WIDTH 256u
#define TILE_NODES 511u
#define TREE_LEVELS 8u
#define TREE_PENDING 16u
#define TILES_NAME "tiles"

/* Leaf hashes of [first, first + count), from the log itself. */
typedef int (*tree_leaf_fn)(void *context, uint64_t first, unsigned count, uint8_t (*out)[HASH_SIZE]);

typedef struct tile {
    uint64_t number;
    uint8_t nodes[TILE_NODES][HASH_SIZE];
} tile;

/* A finished tile that is not on disk yet. */
typedef struct pending_tile {
    uint64_t number;
    uint32_t level;
    uint8_t hashes[TILE_WIDTH][HASH_SIZE];
} pending_tile;

typedef struct tree {
    const scope *s;
    vfs_dir *dir;            /* tiles/, or NULL: none can be kept */
    bool writable;
    merkle_range range;      /* the truth: size and peaks */
    tile *edges[TREE_LEVELS];
    unsigned widths[TREE_LEVELS];
    tile *cache;             /* `cache_count` finished tiles, the least recently used goes */
    uint64_t *cache_keys;    /* which tile stands where; 0: none */
    uint64_t *cache_uses;    /* when it was used last */
    uint64_t *cache_made;    /* when it was read or made */
    bool *cache_proven;      /* a leaf of it was proven since, and all the others with it */
    uint64_t distrusted;
    bool standing;           /* the edges lead to the root in memory */
    uint32_t cache_count;
    uint32_t last_hit;
    uint64_t uses;
    pending_tile *pending;   /* TREE_PENDING of them, a ring; the oldest is given up where the disk is slower: only a cache */
    uint32_t pending_first;
    uint32_t pending_count;
    tree_leaf_fn leaves;
    void *context;
    uint64_t written;
    uint64_t rebuilt;
} tree;

int tree_init(tree *t, const scope *s, vfs_dir *dir, bool writable, uint64_t cache_bytes, tree_leaf_fn leaves, void *context);
void tree_free(tree *t);
/* Starts from a trusted range: loads the edges, from tiles where they lead to the range's root, else from the log. */
int tree_start(tree *t, const merkle_range *range);
/* Adds a leaf. No input or output, no allocation: edges are made ready by tree_init. */
void tree_append(tree *t, const uint8_t leaf[HASH_SIZE]);

int tree_root_at(tree *t, uint64_t size, uint8_t root[HASH_SIZE]);
int tree_inclusion(tree *t, uint64_t index, uint64_t size, uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count);
int tree_consistency(tree *t, uint64_t old_size, uint64_t size, uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count);
/* Proves that `leaf` is record `index` of the tree in memory; damaged tiles on the way are made again. CORRUPT: it is not. */
int tree_prove(tree *t, uint64_t index, const uint8_t leaf[HASH_SIZE]);
/* The same for a whole tile: that `node` is the root of the 256 records from number * TILE_WIDTH on, all in the tree. One path for
 * all of them, and their own tile is not asked. AEGIS_E_PROOF: one of them is not; tree_prove can say which. */
int tree_prove_tile(tree *t, uint64_t number, const uint8_t node[HASH_SIZE]);

/* The leaf hash of record `index` by its tile on disk, believed by nobody yet; false: there is no such tile. */
bool tree_hint(const tree *t, uint64_t index, uint8_t leaf[HASH_SIZE]);

/* Takes the oldest finished tile that is not on disk; false: none. Writing it needs no lock: tree_write_tile. */
bool tree_take_pending(tree *t, pending_tile *out);
int tree_write_tile(const tree *t, const pending_tile *tile);
/* At a clean close: edges as partial tiles, so that the next open reads a few hundred hashes and not the log. */
int tree_write_edges(tree *t);

#endif
