/* frame.c: the conditions of a valid frame, each by its number, and round trips of every size that matters. */
#include "scopes.h"

enum { MOST = 70000 };

static const uint8_t NONCE[NONCE_SIZE] = "a segment nonce!";
static const uint64_t OFFSET = 12288, INDEX = 41, WATERMARK = 40;

static uint8_t entry[AEGIS_ENTRY_MAX], bytes[MOST + 64];
static uint8_t payload[MOST];

static void fill(void) {
    uint64_t seed = 7;
    s = scope_of(NULL, SESSION, FRAME_ALIGN);
    fill_random(&seed, entry, sizeof entry);
    fill_random(&seed, payload, sizeof payload);
}

/* A frame with these lengths in `bytes`. */
static uint64_t make(uint32_t entry_length, uint32_t payload_length) {
    return put_frame(&s, bytes, INDEX, FRAME_LAST, WATERMARK, NONCE, OFFSET, entry, entry_length, payload, payload_length);
}

/* All that a reader of an active segment asks. */
static int check_as(const scope *in, uint64_t available, uint64_t index, const uint8_t *nonce, uint64_t offset, frame *f) {
    uint8_t leaf[HASH_SIZE];
    TRY(frame_parse(bytes, available, f));
    TRY(frame_check_body(in, f, bytes, index));
    leaf_hash(frame_entry(bytes), f->entry_length, leaf);
    return frame_check_link(in, f, nonce, offset, leaf);
}

static int check(uint64_t available) {
    frame f;
    return check_as(&s, available, INDEX, NONCE, OFFSET, &f);
}

TEST(frame_condition_1_the_magic_is_there) {
    frame f;
    fill();
    uint64_t size = make(20, 30);
    EXPECT_OK(check(size));
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] ^= 0x20;
        EXPECT(!frame_may_start(bytes));
        EXPECT_CODE(frame_parse(bytes, size, &f), AEGIS_E_TORN);
        bytes[i] ^= 0x20;
    }
    EXPECT(frame_may_start(bytes));
    memset(bytes, 0, FRAME_HEADER);
    EXPECT_CODE(frame_parse(bytes, size, &f), AEGIS_E_TORN);
}

TEST(frame_condition_2_the_lengths_are_within_bounds_and_the_frame_lies_inside_the_file) {
    frame f;
    fill();
    uint64_t size = make(20, 30);
    EXPECT_OK(frame_parse(bytes, size, &f));
    for (uint64_t available = 0; available < size; available++) EXPECT_CODE(frame_parse(bytes, available, &f), AEGIS_E_TORN);
    store_u16(bytes + 6, 0);
    EXPECT_CODE(frame_parse(bytes, size, &f), AEGIS_E_CORRUPT);
    store_u16(bytes + 6, 1);
    store_u32(bytes + 8, AEGIS_PAYLOAD_MAX);
    EXPECT_OK(frame_parse(bytes, FRAME_MAX, &f));
    EXPECT_EQ_U64(f.size, align_up((uint64_t)48 + 1 + AEGIS_PAYLOAD_MAX, 8));
    EXPECT_CODE(frame_parse(bytes, f.size - 1, &f), AEGIS_E_TORN);
    store_u32(bytes + 8, AEGIS_PAYLOAD_MAX + 1);
    EXPECT_CODE(frame_parse(bytes, UINT64_MAX, &f), AEGIS_E_CORRUPT);
    store_u32(bytes + 8, UINT32_MAX);
    EXPECT_CODE(frame_parse(bytes, UINT64_MAX, &f), AEGIS_E_CORRUPT);
    store_u16(bytes + 6, AEGIS_ENTRY_MAX);
    store_u32(bytes + 8, AEGIS_PAYLOAD_MAX);
    EXPECT_OK(frame_parse(bytes, FRAME_MAX, &f));
    EXPECT(f.size <= FRAME_MAX);
}

TEST(frame_condition_3_the_index_is_the_expected_one) {
    frame f;
    fill();
    uint64_t size = make(20, 30);
    EXPECT_OK(check_as(&s, size, INDEX, NONCE, OFFSET, &f));
    EXPECT_CODE(check_as(&s, size, INDEX + 1, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
    EXPECT_CODE(check_as(&s, size, INDEX - 1, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
    EXPECT_CODE(check_as(&s, size, INDEX + (1ull << 32), NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
    store_u64(bytes + 16, INDEX + 1);    /* as if it were that one: the checksum covers the index too */
    EXPECT_CODE(check_as(&s, size, INDEX + 1, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
}

TEST(frame_condition_4_the_body_checksum_matches) {
    frame f;
    fill();
    s.keyed = false;    /* so that the link says nothing */
    uint64_t size = make(20, 30);
    EXPECT_OK(check(size));
    const uint64_t covered[] = {4, 5, 6, 8, 12, 13, 14, 15, FRAME_HEADER, FRAME_HEADER + 19, FRAME_HEADER + 20, FRAME_HEADER + 49};
    for (size_t i = 0; i < sizeof covered / sizeof covered[0]; i++) {
        bytes[covered[i]] ^= 1;
        EXPECT_CODE(check(size), AEGIS_E_CORRUPT);
        bytes[covered[i]] ^= 1;
    }
    scope other = s;
    other.store_id[3] ^= 1;
    EXPECT_CODE(check_as(&other, size, INDEX, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
    other = s;
    other.tier = AEGIS_TIER_AUDIT;
    EXPECT_CODE(check_as(&other, size, INDEX, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
    EXPECT_OK(check(size));
    /* The border between entry and payload is part of it: the same bytes, cut elsewhere, are another record. */
    store_u16(bytes + 6, 21);
    store_u32(bytes + 8, 29);
    EXPECT_CODE(check(size), AEGIS_E_CORRUPT);
}

TEST(frame_condition_5_the_watermark_is_at_most_the_index) {
    frame f;
    fill();
    uint64_t size = put_frame(&s, bytes, INDEX, 0, INDEX, NONCE, OFFSET, entry, 20, payload, 30);
    EXPECT_OK(check_as(&s, size, INDEX, NONCE, OFFSET, &f));
    EXPECT_EQ_U64(f.watermark, INDEX);
    put_frame(&s, bytes, INDEX, 0, INDEX + 1, NONCE, OFFSET, entry, 20, payload, 30);
    EXPECT_CODE(check_as(&s, size, INDEX, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
    put_frame(&s, bytes, INDEX, 0, UINT64_MAX, NONCE, OFFSET, entry, 20, payload, 30);
    EXPECT_CODE(check_as(&s, size, INDEX, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
}

TEST(frame_condition_6_the_link_matches_for_who_has_the_secret) {
    frame f;
    uint8_t nonce[NONCE_SIZE], leaf[HASH_SIZE];
    fill();
    uint64_t size = make(20, 30);
    memcpy(nonce, NONCE, sizeof nonce);
    nonce[15] ^= 1;
    EXPECT_OK(check_as(&s, size, INDEX, NONCE, OFFSET, &f));
    EXPECT_CODE(check_as(&s, size, INDEX, nonce, OFFSET, &f), AEGIS_E_CORRUPT);
    EXPECT_CODE(check_as(&s, size, INDEX, NONCE, OFFSET + 8, &f), AEGIS_E_CORRUPT);
    scope other = s;
    hmac_prepare(&other.key, "another secret", 14);
    EXPECT_CODE(check_as(&other, size, INDEX, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
    EXPECT_OK(frame_parse(bytes, size, &f));
    leaf_hash(entry, 21, leaf);
    EXPECT_CODE(frame_check_link(&s, &f, NONCE, OFFSET, leaf), AEGIS_E_CORRUPT);
    /* The watermark is in no checksum: only the link keeps it. */
    store_u64(bytes + 24, WATERMARK - 1);
    EXPECT_OK(frame_parse(bytes, size, &f));
    EXPECT_OK(frame_check_body(&s, &f, bytes, INDEX));
    EXPECT_CODE(check(size), AEGIS_E_CORRUPT);
    s.keyed = false;
    EXPECT_OK(check(size));
}

TEST(frame_condition_7_the_padding_is_zero) {
    fill();
    s.keyed = false;
    for (uint32_t length = 1; length <= 16; length++) {
        uint64_t size = make(length, 3), used = FRAME_HEADER + length + 3;
        EXPECT_EQ_U64(size % 8, 0);
        EXPECT_OK(check(size));
        for (uint64_t at = used; at < size; at++) {
            bytes[at] = 0x80;
            EXPECT_CODE(check(size), AEGIS_E_CORRUPT);
            bytes[at] = 0;
        }
    }
}

TEST(frame_condition_8_flags_are_known_and_a_stub_names_a_later_record) {
    frame f;
    fill();
    s.keyed = false;
    for (unsigned flags = 0; flags < 256; flags++) {
        uint8_t cause[8];
        store_u64(cause, INDEX + 1);
        uint64_t size = put_frame(&s, bytes, INDEX, (uint8_t)flags, WATERMARK, NONCE, OFFSET, entry, 20, cause, 8);
        EXPECT_CODE(check(size), flags <= (FRAME_LAST | FRAME_GAP) ? AEGIS_OK : AEGIS_E_CORRUPT);
        size = put_frame(&s, bytes, INDEX, (uint8_t)flags, WATERMARK, NONCE, OFFSET, entry, 20, cause, 7);
        EXPECT_CODE(check(size), flags <= FRAME_LAST ? AEGIS_OK : AEGIS_E_CORRUPT);
    }
    const uint64_t causes[] = {0, INDEX - 1, INDEX, INDEX + 1, UINT64_MAX};
    for (int i = 0; i < 5; i++) {
        uint8_t cause[8];
        store_u64(cause, causes[i]);
        uint64_t size = put_frame(&s, bytes, INDEX, FRAME_GAP, WATERMARK, NONCE, OFFSET, entry, 20, cause, 8);
        EXPECT_CODE(check_as(&s, size, INDEX, NONCE, OFFSET, &f), causes[i] > INDEX ? AEGIS_OK : AEGIS_E_CORRUPT);
        EXPECT(frame_is_stub(&f) && frame_cause(&f, bytes) == causes[i]);
    }
}

TEST(a_frame_that_is_made_anew_keeps_all_but_its_payload_and_its_link) {
    static uint8_t anew[MOST + 64];
    frame old, f;
    fill();
    s.keyed = false;
    make(20, 30);
    EXPECT_OK(frame_parse(bytes, sizeof bytes, &old));
    for (uint32_t length = 0; length < 100; length += 9) {
        memset(anew, 0xee, sizeof anew);
        frame_remake(&s, anew, &old, frame_entry(bytes), FRAME_LAST, payload + 500, length);
        EXPECT_OK(frame_parse(anew, frame_size(20, length), &f));
        EXPECT_OK(frame_check_body(&s, &f, anew, INDEX));
        EXPECT(f.kind == old.kind && f.flags == FRAME_LAST && f.index == INDEX && f.watermark == WATERMARK && f.entry_length == 20);
        EXPECT_BYTES(frame_entry(anew), entry, 20);
        EXPECT_BYTES(frame_payload(&f, anew), payload + 500, length);
        EXPECT(all_zero(f.link, MAC_SIZE));
    }
}

TEST(a_frame_comes_back_as_it_was_put_at_every_size) {
    static const uint32_t payloads[] = {0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 255, 256, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, MOST - 200};
    frame f;
    fill();
    for (uint32_t n = 1; n < 200; n++) {
        for (size_t p = 0; p < sizeof payloads / sizeof payloads[0]; p++) {
            if (n > 20 && payloads[p] > 600) continue;
            memset(bytes, 0xee, sizeof bytes);
            uint64_t size = make(n, payloads[p]);
            if (!EXPECT_OK(check_as(&s, size, INDEX, NONCE, OFFSET, &f))) return;
            EXPECT_EQ_U64(f.size, size);
            EXPECT_EQ_U64(size, (48 + n + payloads[p] + 7) / 8 * 8);
            EXPECT_EQ_U64(f.kind, 1 + INDEX % 9);
            EXPECT_EQ_U64(f.flags, FRAME_LAST);
            EXPECT_EQ_U64(f.index, INDEX);
            EXPECT_EQ_U64(f.watermark, WATERMARK);
            EXPECT_EQ_U64(f.entry_length, n);
            EXPECT_EQ_U64(f.payload_length, payloads[p]);
            EXPECT_BYTES(frame_entry(bytes), entry, n);
            EXPECT_BYTES(frame_payload(&f, bytes), payload, payloads[p]);
            EXPECT_EQ_U64(bytes[size], 0xee);    /* nothing behind it was touched */
        }
    }
    uint64_t size = make(AEGIS_ENTRY_MAX, 0);
    EXPECT_OK(check(size));
}

TEST(the_largest_frame_comes_back) {
    frame f;
    fill();
    uint8_t *large = calloc(1, AEGIS_PAYLOAD_MAX), *out = malloc(FRAME_MAX), leaf[HASH_SIZE];
    if (EXPECT(large != NULL && out != NULL)) {
        large[AEGIS_PAYLOAD_MAX - 1] = 9;
        uint64_t size = put_frame(&s, out, INDEX, 0, 0, NONCE, OFFSET, entry, AEGIS_ENTRY_MAX, large, AEGIS_PAYLOAD_MAX);
        EXPECT_OK(frame_parse(out, size, &f));
        EXPECT_OK(frame_check_body(&s, &f, out, INDEX));
        leaf_hash(entry, AEGIS_ENTRY_MAX, leaf);
        EXPECT_OK(frame_check_link(&s, &f, NONCE, OFFSET, leaf));
        EXPECT_BYTES(frame_payload(&f, out), large, AEGIS_PAYLOAD_MAX);
    }
    free(large);
    free(out);
}

/* FORMAT.md, followed by hand: another reader computes the same. */
TEST(checksum_and_link_are_those_of_the_format) {
    uint8_t text[16 + 4 + 1 + 2 + 4 + 20 + 30 + 8 + 1], link[HASH_SIZE], leaf[HASH_SIZE], *p = text;
    fill();
    make(20, 30);
    memcpy(p, TEST_ID, 16);
    store_u32(p + 16, SESSION);
    p[20] = (uint8_t)(1 + INDEX % 9);
    store_u16(p + 21, 20);
    store_u32(p + 23, 30);
    memcpy(p + 27, entry, 20);
    memcpy(p + 47, payload, 30);
    store_u64(p + 77, INDEX);
    p[85] = FRAME_LAST;
    EXPECT_BYTES(bytes, "AFR0", 4);
    EXPECT_EQ_U64(load_u32(bytes + 12), crc32c(0, text, sizeof text));
    uint8_t message[1 + 16 + 8 + 8 + 8 + 32 + 4];
    leaf_hash(entry, 20, leaf);
    message[0] = 'L';
    memcpy(message + 1, NONCE, 16);
    store_u64(message + 17, OFFSET);
    store_u64(message + 25, INDEX);
    store_u64(message + 33, WATERMARK);
    memcpy(message + 41, leaf, 32);
    store_u32(message + 73, load_u32(bytes + 12));
    hmac_whole(&s.key, message, sizeof message, link);
    EXPECT_BYTES(bytes + 32, link, 16);
}

TEST(every_flipped_bit_is_refused) {
    fill();
    for (uint32_t n = 1; n < 40; n += 6) {
        uint64_t size = make(n, 2 * n - 2);
        for (uint64_t bit = 0; bit < size * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (!EXPECT(check(size) != AEGIS_OK)) printf("    bit %llu of a frame of %llu bytes\n", (unsigned long long)bit, (unsigned long long)size);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        EXPECT_OK(check(size));
    }
}

TEST(a_frame_of_another_place_is_refused) {
    frame f;
    fill();
    uint64_t size = make(50, 100);
    for (uint64_t offset = 0; offset < 40000; offset += 8)
        EXPECT((check_as(&s, size, INDEX, NONCE, offset, &f) == AEGIS_OK) == (offset == OFFSET));
    for (uint64_t index = 0; index < 200; index++)
        EXPECT((check_as(&s, size, index, NONCE, OFFSET, &f) == AEGIS_OK) == (index == INDEX));
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        scope other = s;
        other.tier = tier;
        EXPECT((check_as(&other, size, INDEX, NONCE, OFFSET, &f) == AEGIS_OK) == (tier == SESSION));
    }
    for (unsigned i = 0; i < STORE_ID_SIZE; i++) {
        uint8_t nonce[NONCE_SIZE];
        scope other = s;
        other.store_id[i] ^= 0x10;
        EXPECT_CODE(check_as(&other, size, INDEX, NONCE, OFFSET, &f), AEGIS_E_CORRUPT);
        memcpy(nonce, NONCE, sizeof nonce);
        nonce[i] ^= 0x10;
        EXPECT_CODE(check_as(&s, size, INDEX, nonce, OFFSET, &f), AEGIS_E_CORRUPT);
    }
}

TEST(a_frame_closed_without_the_flag_differs_in_checksum_and_link) {
    uint8_t last[512];
    fill();
    uint64_t size = make(50, 100);
    memcpy(last, bytes, (size_t)size);
    put_frame(&s, bytes, INDEX, 0, WATERMARK, NONCE, OFFSET, entry, 50, payload, 100);
    EXPECT_OK(check(size));
    EXPECT(memcmp(bytes + 12, last + 12, 4) != 0);
    EXPECT(memcmp(bytes + 32, last + 32, MAC_SIZE) != 0);
    EXPECT_BYTES(bytes + FRAME_HEADER, last + FRAME_HEADER, (size_t)size - FRAME_HEADER);
}
