/* remains.c: each of the four readings of a damaged frame, and that nothing else is taken for the frame that stood there. */
#include "remains.h"

#include "scopes.h"

#define OFFSET 13000u
#define INDEX 77u

static const uint8_t NONCE[NONCE_SIZE] = "a nonce of its s";
static uint8_t whole[4096], bytes[4096];
static uint8_t truth[HASH_SIZE];
static test_record record;
static uint64_t size;

static void begin_frame(uint32_t entry_length) {
    uint64_t seed = entry_length;
    s = scope_of(NULL, SESSION, FRAME_ALIGN);
    make_record(SESSION, INDEX, 300, &record);
    if (entry_length > 0) record.entry_length = entry_length;
    static uint8_t entry[2048];
    memcpy(entry, record.entry, sizeof record.entry);
    if (record.entry_length > sizeof record.entry) fill_random(&seed, entry, sizeof entry);
    size = put_frame(&s, whole, INDEX, FRAME_LAST, 60, NONCE, OFFSET, entry, record.entry_length, record.payload, record.payload_length);
    leaf_hash(entry, record.entry_length, truth);
    memcpy(bytes, whole, size);
}

static bool proves(const uint8_t *hint) {
    uint8_t leaf[HASH_SIZE];
    if (remains_leaf(&s, NONCE, OFFSET, INDEX, bytes, size, hint, leaf) != AEGIS_OK) return false;
    return EXPECT_BYTES(leaf, truth, HASH_SIZE);
}

TEST(rule_1_what_the_link_does_not_cover_may_be_damaged) {
    begin_frame(0);
    EXPECT(proves(NULL));
    memset(bytes, 0x5a, 6);         /* magic, kind, flags */
    memset(bytes + 8, 0xff, 4);     /* length of the payload */
    memset(bytes + 16, 0x17, 8);    /* index */
    memset(bytes + FRAME_HEADER + record.entry_length, 0, (size_t)size - FRAME_HEADER - record.entry_length);
    EXPECT(proves(NULL));
}

TEST(rule_2_a_tile_may_know_the_leaf_of_an_entry_that_is_gone) {
    uint8_t other[HASH_SIZE];
    begin_frame(0);
    memset(bytes + FRAME_HEADER, 0, 40);
    memset(bytes + 6, 0xff, 2);
    EXPECT(!proves(NULL));
    EXPECT(proves(truth));
    memcpy(other, truth, HASH_SIZE);
    other[3] ^= 1;
    EXPECT(!proves(other));         /* its tile is believed only if the link holds */
    memset(bytes + 32, 0, 16);
    EXPECT(!proves(truth));
}

TEST(rule_3_one_bit_of_the_link_may_be_another_and_not_two) {
    begin_frame(0);
    for (unsigned bit = 0; bit < 128; bit++) {
        bytes[32 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        EXPECT(proves(NULL));
        bytes[32 + (bit / 8 + 5) % 16] ^= 2;
        EXPECT(!proves(NULL));
        memcpy(bytes, whole, size);
    }
}

TEST(rule_4_any_one_bit_may_be_another) {
    begin_frame(0);
    for (uint64_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (!EXPECT(proves(NULL))) printf("    bit %llu\n", (unsigned long long)bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* Two of the entry are not tried. */
    bytes[FRAME_HEADER] ^= 1;
    bytes[FRAME_HEADER + 9] ^= 4;
    EXPECT(!proves(NULL));
}

TEST(rule_4_bits_of_a_very_long_entry_are_not_tried) {
    begin_frame(REMAINS_ENTRY_MAX);
    bytes[FRAME_HEADER + 700] ^= 8;
    EXPECT(proves(NULL));
    begin_frame(REMAINS_ENTRY_MAX + 1);
    bytes[FRAME_HEADER + 700] ^= 8;
    EXPECT(!proves(NULL));
}

TEST(a_frame_of_another_place_index_segment_or_store_proves_nothing) {
    uint8_t leaf[HASH_SIZE], nonce[NONCE_SIZE];
    begin_frame(0);
    EXPECT_CODE(remains_leaf(&s, NONCE, OFFSET + 8, INDEX, bytes, size, NULL, leaf), AEGIS_E_PROOF);
    EXPECT_CODE(remains_leaf(&s, NONCE, OFFSET, INDEX + 1, bytes, size, NULL, leaf), AEGIS_E_PROOF);
    memcpy(nonce, NONCE, NONCE_SIZE);
    nonce[0] ^= 1;
    EXPECT_CODE(remains_leaf(&s, nonce, OFFSET, INDEX, bytes, size, NULL, leaf), AEGIS_E_PROOF);
    hmac_prepare(&s.key, TEST_ID, sizeof TEST_ID);
    EXPECT(!proves(NULL));
    s.keyed = false;                /* without the secret nothing is proven, not even by the frame as it was */
    EXPECT(!proves(truth));
}

TEST(a_frame_that_is_cut_short_is_read_no_further) {
    uint8_t leaf[HASH_SIZE];
    begin_frame(0);
    for (uint64_t there = 0; there < size; there++) {
        uint8_t *cut = malloc((size_t)there + 1);    /* the sanitizer sees a step too far */
        if (!EXPECT(cut != NULL)) return;
        memcpy(cut, whole, (size_t)there);
        int code = remains_leaf(&s, NONCE, OFFSET, INDEX, cut, there, NULL, leaf);
        EXPECT_CODE(code, there >= FRAME_HEADER + record.entry_length ? AEGIS_OK : AEGIS_E_PROOF);
        free(cut);
    }
}
