/* fuzz_proof: what a stranger says that a proof is.
 *
 *   what 1 | size 8 | index or old size 8 | level 1 | root: which 1 | leaf or old root: which 1 | hashes, one byte or 33 each …
 *
 * A hash is named by one byte: 0 to 63 the one that stands there in the true proof, 64 to 254 a node of the tree, 255 the 32 bytes that
 * follow. Sizes are taken modulo 40 unless `what` has bit 4. The true tree and its proofs come from RFC 6962's own definitions
 * (2.1, 2.1.1, 2.1.2), as they stand there. Demanded: for an honest size, a proof that is accepted is the true one, of the true leaf or
 * old root; the true one is accepted; and for any size below 2^63 (merkle.h), what the engine makes it accepts.
 */
#include "fuzz.h"
#include "merkle.h"

FUZZ_WITHOUT(NO_OLD_ROOT_IN_PROOF)

enum { LEAVES = 40, INCLUSION = 0, CONSISTENCY = 1, SUBTREE = 2, HUGE = 3 };

static uint8_t all[LEAVES][HASH_SIZE];       /* leaves, each another one */

typedef struct proof {
    uint8_t hashes[MERKLE_MAX_PROOF][HASH_SIZE];
    unsigned count;
} proof;

/* ---- RFC 6962, 2.1: D[first : first + n] ------------------------------------------------------------------------------- */

static unsigned split_of(unsigned n) {
    unsigned k = 1;
    while (2 * k < n) k *= 2;
    return k;
}

static void tree_hash(unsigned first, unsigned n, uint8_t out[HASH_SIZE]) {
    uint8_t left[HASH_SIZE], right[HASH_SIZE];
    if (n == 0) sha256_whole(NULL, 0, out);
    if (n == 1) memcpy(out, all[first], HASH_SIZE);
    if (n < 2) return;
    tree_hash(first, split_of(n), left);
    tree_hash(first + split_of(n), n - split_of(n), right);
    node_hash(left, right, out);
}

static void add(proof *to, unsigned first, unsigned n) { tree_hash(first, n, to->hashes[to->count++]); }

static void path(unsigned m, unsigned first, unsigned n, proof *to) {
    if (n < 2) return;
    unsigned k = split_of(n);
    path(m < k ? m : m - k, m < k ? first : first + k, m < k ? k : n - k, to);
    if (m < k) add(to, first + k, n - k);
    else add(to, first, k);
}

static void subproof(unsigned m, unsigned first, unsigned n, bool whole, proof *to) {
    if (m == n) {
        if (!whole) add(to, first, n);
        return;
    }
    unsigned k = split_of(n);
    if (m <= k) subproof(m, first, k, whole, to);
    else subproof(m - k, first + k, n - k, false, to);
    if (m <= k) add(to, first + k, n - k);
    else add(to, first, k);
}

/* ---- what the input claims --------------------------------------------------------------------------------------------- */

static void node_named(unsigned name, uint8_t out[HASH_SIZE]) {
    unsigned first = name % LEAVES, n = 1u << name / LEAVES % 6;
    tree_hash(first, n <= LEAVES - first ? n : LEAVES - first, out);
}

static void claim(input *in, const proof *true_one, proof *to) {
    for (to->count = 0; in->left > 0 && to->count < MERKLE_MAX_PROOF; to->count++) {
        uint8_t name = take_u8(in);
        if (name == 255) take(in, to->hashes[to->count], HASH_SIZE);
        else if (name < true_one->count) memcpy(to->hashes[to->count], true_one->hashes[name], HASH_SIZE);
        else node_named(name, to->hashes[to->count]);
    }
}

static bool same(const proof *a, const proof *b) { return a->count == b->count && memcmp(a->hashes, b->hashes, HASH_SIZE * a->count) == 0; }

static const uint8_t (*of(const proof *p))[HASH_SIZE] { return (const uint8_t(*)[HASH_SIZE])p->hashes; }

static bool holds(int code) {
    DEMAND(code == AEGIS_OK || code == AEGIS_E_PROOF);
    return code == AEGIS_OK;
}

/* ---- a tree of any size: all leaves are the same but one ----------------------------------------------------------------- */

typedef struct huge {
    uint64_t other;              /* the leaf that is another one */
    uint8_t plain[64][HASH_SIZE], with[64][HASH_SIZE];
} huge;

static int huge_node(void *context, unsigned level, uint64_t index, uint8_t out[HASH_SIZE]) {
    const huge *h = context;
    DEMAND(level < 64);
    memcpy(out, h->other >> level == index ? h->with[level] : h->plain[level], HASH_SIZE);
    return AEGIS_OK;
}

static void try_huge(uint64_t size, uint64_t index, unsigned level) {
    huge h = {.other = index};
    uint8_t root[HASH_SIZE], old[HASH_SIZE], node[HASH_SIZE];
    proof p;
    memset(h.plain[0], 1, HASH_SIZE);
    memset(h.with[0], 2, HASH_SIZE);
    for (unsigned l = 1; l < 64; l++) {
        bool right = h.other >> (l - 1) & 1;
        node_hash(h.plain[l - 1], h.plain[l - 1], h.plain[l]);
        node_hash(right ? h.plain[l - 1] : h.with[l - 1], right ? h.with[l - 1] : h.plain[l - 1], h.with[l]);
    }
    DEMAND(merkle_root_at(size, huge_node, &h, root) == AEGIS_OK);
    int code = merkle_subtree(level, index >> (level & 63), size, huge_node, &h, p.hashes, &p.count);
    DEMAND(code == (level < 64 && index >> level < size >> level ? AEGIS_OK : AEGIS_E_ARGUMENT));
    if (code == AEGIS_OK) {
        DEMAND(huge_node(&h, level, index >> level, node) == AEGIS_OK);
        DEMAND(merkle_check_subtree(node, level, index >> level, size, of(&p), p.count, root) == AEGIS_OK);
        node[0] ^= 1;
        DEMAND(merkle_check_subtree(node, level, index >> level, size, of(&p), p.count, root) == AEGIS_E_PROOF);
    }
    code = merkle_consistency(index, size, huge_node, &h, p.hashes, &p.count);
    DEMAND(code == (index > 0 && index <= size ? AEGIS_OK : AEGIS_E_ARGUMENT));
    if (code != AEGIS_OK) return;
    DEMAND(merkle_root_at(index, huge_node, &h, old) == AEGIS_OK);
    DEMAND(merkle_check_consistency(index, old, size, root, of(&p), p.count) == AEGIS_OK);
    root[0] ^= 1;
    DEMAND(merkle_check_consistency(index, old, size, root, of(&p), p.count) == AEGIS_E_PROOF);
}

/* ---- the three kinds ----------------------------------------------------------------------------------------------------- */

static void try_inclusion(uint64_t size, uint64_t index, unsigned which_root, unsigned which_leaf, input *in) {
    proof true_one = {.count = 0}, said;
    uint8_t root[HASH_SIZE];
    unsigned n = which_root % (LEAVES + 1), m = which_leaf % LEAVES;
    if (index < n) path((unsigned)index, 0, n, &true_one);
    tree_hash(0, n, root);
    claim(in, &true_one, &said);
    bool accepted = holds(merkle_check_inclusion(all[m], index, size, of(&said), said.count, root));
    if (size == n) DEMAND(accepted == (index < n && m == index && same(&said, &true_one)));
    if (index < n) DEMAND(holds(merkle_check_inclusion(all[index], index, n, of(&true_one), true_one.count, root)));
}

static void try_consistency(uint64_t size, uint64_t old_size, unsigned which_root, unsigned which_old, input *in) {
    proof true_one = {.count = 0}, said;
    uint8_t root[HASH_SIZE], old[HASH_SIZE];
    unsigned n = which_root % (LEAVES + 1), m = which_old % (LEAVES + 1);
    if (old_size > 0 && old_size <= n) subproof((unsigned)old_size, 0, n, true, &true_one);
    tree_hash(0, n, root);
    tree_hash(0, m, old);
    claim(in, &true_one, &said);
    bool accepted = holds(merkle_check_consistency(old_size, old, size, root, of(&said), said.count));
    if (size == n) DEMAND(accepted == (old_size <= n && m == old_size && same(&said, &true_one)));
}

static void try_subtree(uint64_t size, uint64_t index, unsigned level, unsigned which_root, unsigned which_node, input *in) {
    proof true_one = {.count = 0}, said;
    uint8_t root[HASH_SIZE], node[HASH_SIZE], own_node[HASH_SIZE];
    unsigned n = which_root % (LEAVES + 1);
    bool within = level < 6 && index < n >> level;
    memset(own_node, 0, sizeof own_node);
    if (within) {
        unsigned first = (unsigned)index << level, width = 1u << level;
        tree_hash(first, width, own_node);
        path(first, 0, n, &true_one);
        true_one.count -= level;
        memmove(true_one.hashes, true_one.hashes[level], HASH_SIZE * true_one.count);
    }
    node_named(which_node, node);
    tree_hash(0, n, root);
    claim(in, &true_one, &said);
    bool accepted = holds(merkle_check_subtree(node, level, index, size, of(&said), said.count, root));
    bool right = within && memcmp(node, own_node, HASH_SIZE) == 0;
    if (size == n) DEMAND(accepted == (right && same(&said, &true_one)));
    if (within) DEMAND(holds(merkle_check_subtree(own_node, level, index, n, of(&true_one), true_one.count, root)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    unsigned what = take_u8(&in);
    uint64_t claimed = take_u64(&in), index = take_u64(&in);
    unsigned level = take_u8(&in), which_root = take_u8(&in), which = take_u8(&in);
    for (unsigned i = 0; i < LEAVES; i++) memset(all[i], (int)(100 + i), HASH_SIZE);
    if (!(what & 4) && (what & 3) != HUGE) {
        claimed %= LEAVES + 1;
        index %= LEAVES + 2;
        which_root = (unsigned)claimed;
    }
    switch (what & 3) {
    case INCLUSION: try_inclusion(claimed, index, which_root, which, &in); break;
    case CONSISTENCY: try_consistency(claimed, index, which_root, which, &in); break;
    case SUBTREE: try_subtree(claimed, index, level, which_root, which, &in); break;
    default: try_huge(claimed >> 1, index >> 1, level); break;
    }
    return 0;
}
