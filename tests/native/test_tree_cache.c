/* tree.c: its cache in memory, whole tiles proven at once, and a log that gives wrong leaves. */
#include "trees.h"

TEST(a_tiny_cache_answers_the_same) {
    tree t, again;
    uint64_t seed = 5;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 40 * 256 + 100);
    if (!reopen(&again, true, 40 * 256 + 100)) return;
    EXPECT_EQ_U64(again.cache_count, 8);
    for (int i = 0; i < 3000; i++) {
        uint64_t n = next_random(&seed) % again.range.size;
        if (!EXPECT_OK(tree_prove(&again, n, leaves[n]))) break;
    }
    EXPECT_EQ_U64(again.rebuilt, 0);
    EXPECT_EQ_U64(leaves_asked, 100);
    /* What was asked last stays: asked again, nothing is read. */
    EXPECT_OK(tree_prove(&again, 300, leaves[300]));
    uint64_t calls = vfs_sim_calls(sim);
    for (uint64_t n = 256; n < 512; n++) EXPECT_OK(tree_prove(&again, n, leaves[n]));
    EXPECT_EQ_U64(vfs_sim_calls(sim), calls);
    /* Nor for as many as fit, in turn; the least recently asked one goes first. */
    for (uint64_t n = 0; n < 8; n++) EXPECT_OK(tree_prove(&again, 256 * n, leaves[256 * n]));
    calls = vfs_sim_calls(sim);
    for (uint64_t n = 0; n < 80; n++) EXPECT_OK(tree_prove(&again, 256 * (n % 8) + n, leaves[256 * (n % 8) + n]));
    EXPECT_EQ_U64(vfs_sim_calls(sim), calls);
    EXPECT_OK(tree_prove(&again, 256 * 20, leaves[256 * 20]));    /* takes the place of tile 0 */
    calls = vfs_sim_calls(sim);
    for (uint64_t n = 1; n < 8; n++) EXPECT_OK(tree_prove(&again, 256 * n, leaves[256 * n]));
    EXPECT_EQ_U64(vfs_sim_calls(sim), calls);
    EXPECT_OK(tree_prove(&again, 0, leaves[0]));
    EXPECT(vfs_sim_calls(sim) > calls);
    tree_free(&again);
    end_tree(&t);
}

TEST(a_whole_tile_is_proven_by_its_root_alone) {
    tree t, again;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 1500);
    EXPECT_OK(vfs_sim_remove(sim, "tiles/0"));
    for (uint64_t number = 0; number < 5; number++) {
        uint8_t node[HASH_SIZE];
        naive_root(256 * number, 256 * number + 256, node);
        if (number == 0 && !reopen(&again, true, 1500)) return;
        uint64_t asked = leaves_asked;
        EXPECT_OK(tree_prove_tile(&again, number, node));
        EXPECT_EQ_U64(leaves_asked, asked);    /* its own tile is not needed, and no other of its level */
        node[0] ^= 1;
        EXPECT_CODE(tree_prove_tile(&again, number, node), AEGIS_E_PROOF);
    }
    uint8_t node[HASH_SIZE] = {0};
    EXPECT_CODE(tree_prove_tile(&again, 5, node), AEGIS_E_BUG);
    tree_free(&again);
    end_tree(&t);
}

TEST(a_wrong_leaf_is_not_proven) {
    tree t, again;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 1500);
    if (!reopen(&again, true, 1500)) return;
    aegis_error error;
    const uint64_t places[] = {0, 255, 256, 700, 1279, 1280, 1499};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint8_t wrong[HASH_SIZE];
        memcpy(wrong, leaves[places[i]], HASH_SIZE);
        wrong[31] ^= 1;
        EXPECT_CODE(tree_prove(&again, places[i], wrong), AEGIS_E_CORRUPT);
        aegis_last_error(&error);
        EXPECT_EQ_U64(error.first, places[i]);
        EXPECT_EQ_U64(error.end, places[i] + 1);
        EXPECT_EQ_U64(error.tier, SESSION);
        EXPECT_CODE(tree_prove(&again, places[i], leaves[places[i] ^ 1]), AEGIS_E_CORRUPT);
        EXPECT_OK(tree_prove(&again, places[i], leaves[places[i]]));
    }
    EXPECT_CODE(tree_prove(&again, 1500, leaves[1500]), AEGIS_E_BUG);
    tree_free(&again);
    end_tree(&t);
}

/* Damage that the tiles cannot make good again: the log itself gives another leaf. An answer would be a wrong one. */
TEST(where_the_log_itself_is_wrong_no_root_and_no_proof_is_given) {
    tree t, again;
    uint8_t found[HASH_SIZE], proof[MERKLE_MAX_PROOF][HASH_SIZE];
    unsigned count = 0;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 1500);
    EXPECT_OK(tree_write_edges(&t));
    EXPECT_OK(vfs_sim_remove(sim, "tiles/0/001"));
    if (!reopen(&again, true, 1500)) return;
    wrong_leaf = 300;
    EXPECT_CODE(tree_root_at(&again, 400, found), AEGIS_E_CORRUPT);
    EXPECT_CODE(tree_inclusion(&again, 301, 1500, proof, &count), AEGIS_E_CORRUPT);
    EXPECT_CODE(tree_inclusion(&again, 300, 1500, proof, &count), AEGIS_E_CORRUPT);
    EXPECT_CODE(tree_consistency(&again, 400, 1500, proof, &count), AEGIS_E_CORRUPT);
    EXPECT_CODE(tree_consistency(&again, 301, 1400, proof, &count), AEGIS_E_CORRUPT);
    EXPECT_CODE(tree_prove(&again, 301, leaves[301]), AEGIS_E_CORRUPT);
    EXPECT_OK(tree_prove(&again, 600, leaves[600]));
    root_is(&again, 512, roots[512]);
    wrong_leaf = UINT64_MAX;
    answers(&again, 1500, 11);
    write_pending(&again);
    tree_free(&again);
    /* A damaged tile is not replaced by another wrong one. */
    flip("tiles/0/001", 10 * 256);
    if (!reopen(&again, true, 1500)) return;
    wrong_leaf = 300;
    EXPECT_CODE(tree_prove(&again, 301, leaves[301]), AEGIS_E_CORRUPT);
    EXPECT_EQ_U64(again.pending_count, 0);
    wrong_leaf = UINT64_MAX;
    EXPECT_OK(tree_prove(&again, 301, leaves[301]));
    EXPECT_EQ_U64(again.pending_count, 1);
    tree_free(&again);
    end_tree(&t);
}
