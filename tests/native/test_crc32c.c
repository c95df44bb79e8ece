/* crc32c.c, x86/ and arm/: vectors of RFC 3720, and a reference that takes one bit at a time. */
#include "check.h"

#include "cpu.h"
#include "crc32c.h"

/* Every test runs on both paths; where the processor has only one, twice on that. */
#define EACH_PATH for (int path = 0; path < 2 && take_path(path); path++)

static bool take_path(int path) {
    if (path == 0) setenv("AEGIS_CPU", "portable", 1);
    else unsetenv("AEGIS_CPU");
    cpu_probe_again();
    return true;
}

static uint32_t reference(uint32_t crc, const uint8_t *bytes, size_t length) {
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    return ~crc;
}

TEST(the_paths_are_named) {
    take_path(0);
    EXPECT_STRING(crc32c_path(), "portable");
    take_path(1);
#if defined(__x86_64__)
    EXPECT_STRING(crc32c_path(), cpu()->crc32c ? "sse4.2" : "portable");
#elif defined(__AARCH64EL__)
    EXPECT_STRING(crc32c_path(), cpu()->crc32c ? "armv8-crc" : "portable");
#else
    EXPECT_STRING(crc32c_path(), "portable");
#endif
}

TEST(vectors_of_rfc_3720) {
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32], read_command[48];
    for (int i = 0; i < 32; i++) {
        ones[i] = 0xff;
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    /* "An iSCSI - SCSI Read (10) Command PDU" */
    from_hex("01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000",
             read_command, sizeof read_command);
    EACH_PATH {
        EXPECT_EQ_U64(crc32c(0, zeros, 32), 0x8a9136aa);
        EXPECT_EQ_U64(crc32c(0, ones, 32), 0x62a8ab43);
        EXPECT_EQ_U64(crc32c(0, up, 32), 0x46dd794e);
        EXPECT_EQ_U64(crc32c(0, down, 32), 0x113fdb5c);
        EXPECT_EQ_U64(crc32c(0, read_command, 48), 0xd9963a56);
        EXPECT_EQ_U64(crc32c(0, "123456789", 9), 0xe3069283);
    }
}

TEST(nothing_changes_nothing) {
    EACH_PATH {
        EXPECT_EQ_U64(crc32c(0, NULL, 0), 0);
        EXPECT_EQ_U64(crc32c(0x12345678, NULL, 0), 0x12345678);
    }
}

/* In memory that ends where the bytes end, so that the address sanitizer sees a read past them. */
TEST(every_length_at_every_alignment) {
    uint64_t seed = 1;
    for (size_t offset = 0; offset < 16; offset++) {
        for (size_t length = 0; length <= 400; length++) {
            uint8_t *memory = malloc(offset + length + (offset + length == 0));
            if (!EXPECT(memory != NULL)) return;
            fill_random(&seed, memory, offset + length);
            uint32_t start = (uint32_t)next_random(&seed);
            uint32_t expected = reference(start, memory + offset, length);
            EACH_PATH EXPECT_EQ_U64(crc32c(start, memory + offset, length), expected);
            free(memory);
        }
    }
}

/* The streams of the fast path are 512 bytes, three in a stride: lengths around every multiple of a block. */
TEST(lengths_around_the_streams_of_the_fast_path) {
    enum { LONGEST = 4 * 1536 + 24 };
    static uint8_t bytes[LONGEST];
    uint64_t seed = 2;
    fill_random(&seed, bytes, sizeof bytes);
    for (size_t around = 512; around < LONGEST; around += 512) {
        for (size_t length = around - 17; length <= around + 17; length++) {
            uint32_t expected = reference(0, bytes + 3, length);
            EACH_PATH EXPECT_EQ_U64(crc32c(0, bytes + 3, length), expected);
        }
    }
}

/* A single bit per buffer: what the streams are shifted by is wrong for some bit if it is wrong at all. */
TEST(every_bit_of_every_stream_counts) {
    static uint8_t bytes[3 * 512 + 8];
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        memset(bytes, 0, sizeof bytes);
        bytes[bit / 8] = (uint8_t)(1u << bit % 8);
        uint32_t expected = reference(0, bytes, sizeof bytes);
        EACH_PATH EXPECT_EQ_U64(crc32c(0, bytes, sizeof bytes), expected);
    }
}

TEST(long_random_buffers) {
    enum { LONGEST = 300000 };
    static uint8_t bytes[LONGEST];
    uint64_t seed = 3;
    fill_random(&seed, bytes, sizeof bytes);
    for (int round = 0; round < 40; round++) {
        size_t offset = next_random(&seed) % 64;
        size_t length = next_random(&seed) % (LONGEST - offset);
        uint32_t expected = reference(0, bytes + offset, length);
        EACH_PATH EXPECT_EQ_U64(crc32c(0, bytes + offset, length), expected);
    }
}

TEST(it_may_be_taken_in_pieces) {
    static uint8_t bytes[2000];
    uint64_t seed = 4;
    fill_random(&seed, bytes, sizeof bytes);
    uint32_t expected = reference(0, bytes, sizeof bytes);
    EACH_PATH {
        for (size_t split = 0; split <= sizeof bytes; split++) {
            EXPECT_EQ_U64(crc32c(crc32c(0, bytes, split), bytes + split, sizeof bytes - split), expected);
        }
    }
}
