/* sha256.c, x86/ and arm/: vectors of FIPS 180-4 and RFC 4231, and digests that Python's hashlib and hmac gave. */
#include "check.h"

#include "cpu.h"
#include "sha256.h"

/* Every test runs on both paths; where the processor has only one, twice on that. */
#define EACH_PATH for (int path = 0; path < 2 && take_path(path); path++)

static bool take_path(int path) {
    if (path == 0) setenv("AEGIS_CPU", "portable", 1);
    else unsetenv("AEGIS_CPU");
    cpu_probe_again();
    return true;
}

static bool is_hex(const uint8_t digest[HASH_SIZE], const char *hex) {
    uint8_t expected[HASH_SIZE];
    return from_hex(hex, expected, HASH_SIZE) == HASH_SIZE && memcmp(digest, expected, HASH_SIZE) == 0;
}

static void pattern(uint8_t *out, size_t size) {
    for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(7 * i + 3);
}

TEST(the_paths_are_named) {
    take_path(0);
    EXPECT_STRING(sha256_path(), "portable");
    take_path(1);
#if defined(__x86_64__)
    EXPECT_STRING(sha256_path(), cpu()->sha256 ? "sha-ni" : "portable");
#elif defined(__AARCH64EL__)
    EXPECT_STRING(sha256_path(), cpu()->sha256 ? "armv8-sha2" : "portable");
#else
    EXPECT_STRING(sha256_path(), "portable");
#endif
}

TEST(vectors_of_fips_180) {
    static const struct {
        const char *message, *digest;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    EACH_PATH {
        uint8_t digest[HASH_SIZE];
        for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
            sha256_whole(vectors[i].message, strlen(vectors[i].message), digest);
            EXPECT(is_hex(digest, vectors[i].digest));
        }
        sha256_whole(NULL, 0, digest);
        EXPECT(is_hex(digest, vectors[0].digest));
    }
}

TEST(a_million_times_a) {
    uint8_t thousand[1000];
    memset(thousand, 'a', sizeof thousand);
    EACH_PATH {
        uint8_t digest[HASH_SIZE];
        sha256 s;
        sha256_start(&s);
        for (int i = 0; i < 1000; i++) sha256_add(&s, thousand, sizeof thousand);
        sha256_end(&s, digest);
        EXPECT(is_hex(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
    }
}

/* sha256(b"".join(sha256(pattern[:n]).digest() for n in range(301))).hexdigest(), and the same with b"\0" + pattern[:n] */
TEST(every_length_up_to_300) {
    EACH_PATH {
        uint8_t digest[HASH_SIZE], leaf[HASH_SIZE];
        sha256 digests, leaves;
        sha256_start(&digests);
        sha256_start(&leaves);
        for (size_t length = 0; length <= 300; length++) {
            /* Memory that ends where the bytes end, for the address sanitizer. */
            uint8_t *bytes = malloc(length + (length == 0));
            if (!EXPECT(bytes != NULL)) return;
            pattern(bytes, length);
            sha256_whole(bytes, length, digest);
            leaf_hash(bytes, length, leaf);
            free(bytes);
            sha256_add(&digests, digest, HASH_SIZE);
            sha256_add(&leaves, leaf, HASH_SIZE);
        }
        sha256_end(&digests, digest);
        sha256_end(&leaves, leaf);
        EXPECT(is_hex(digest, "7d917fbd2cf49ddff9ad0a8706bba32d204e92e71d2e369c5a03d6af29278c9f"));
        EXPECT(is_hex(leaf, "d147dfd0e293d00c7cffd7b20eee8f973ae4653499c42933041f2ec2b4c2cc8d"));
    }
}

TEST(it_may_be_taken_in_pieces) {
    uint8_t bytes[300];
    pattern(bytes, sizeof bytes);
    EACH_PATH {
        uint8_t expected[HASH_SIZE], digest[HASH_SIZE];
        sha256_whole(bytes, sizeof bytes, expected);
        for (size_t first = 0; first <= sizeof bytes; first++) {
            for (size_t second = first; second <= sizeof bytes; second++) {
                sha256 s;
                sha256_start(&s);
                sha256_add(&s, bytes, first);
                sha256_add(&s, bytes + first, second - first);
                sha256_add(&s, bytes + second, sizeof bytes - second);
                sha256_end(&s, digest);
                if (!EXPECT_BYTES(digest, expected, HASH_SIZE)) return;
            }
        }
        sha256 s;
        sha256_start(&s);
        sha256_add(&s, NULL, 0);
        for (size_t i = 0; i < sizeof bytes; i++) sha256_add(&s, bytes + i, 1);
        sha256_end(&s, digest);
        EXPECT_BYTES(digest, expected, HASH_SIZE);
    }
}

TEST(the_paths_agree_on_random_bytes) {
    enum { LONGEST = 5000 };
    static uint8_t bytes[LONGEST];
    uint64_t seed = 5;
    for (int round = 0; round < 500; round++) {
        fill_random(&seed, bytes, sizeof bytes);
        size_t offset = next_random(&seed) % 32;
        size_t length = next_random(&seed) % (LONGEST - offset);
        uint8_t digests[2][HASH_SIZE];
        EACH_PATH sha256_whole(bytes + offset, length, digests[path]);
        EXPECT_BYTES(digests[1], digests[0], HASH_SIZE);
    }
}

/* The length field counts bits: it needs more than 32 of them from 512 MiB on. Hashing that much takes long, so the padding
 * is looked at alone: a stream that claims 2^29 bytes ends with the block 80 00 … 00 | 00 00 00 01 00 00 00 00, and taking that
 * block as a message's first leaves the same state. */
TEST(two_digests_at_once_are_each_its_own) {
    static uint8_t bytes[6000];
    uint64_t seed = 7;
    fill_random(&seed, bytes, sizeof bytes);
    EACH_PATH {
        for (int round = 0; round < 2000; round++) {
            sha256 a, b, c, d;
            uint8_t found[HASH_SIZE], right[HASH_SIZE];
            sha256_start(&a), sha256_start(&b), sha256_start(&c), sha256_start(&d);
            for (int step = 0; step < 4; step++) {
                size_t most = round % 2 == 0 ? 200 : 3000, first = (size_t)(next_random(&seed) % most), second = (size_t)(next_random(&seed) % most);
                if (next_random(&seed) % 5 == 0) first = 64 * (first / 64);
                sha256_add_two(&a, bytes + 11, first, &b, bytes + second, second);
                sha256_add(&c, bytes + 11, first);
                sha256_add(&d, bytes + second, second);
            }
            sha256_end(&a, found), sha256_end(&c, right);
            EXPECT_BYTES(found, right, HASH_SIZE);
            sha256_end(&b, found), sha256_end(&d, right);
            EXPECT_BYTES(found, right, HASH_SIZE);
        }
    }
}

TEST(the_length_is_counted_in_64_bits) {
    EACH_PATH {
        uint8_t digest[HASH_SIZE], expected[HASH_SIZE];
        uint8_t block[64] = {[0] = 0x80, [59] = 0x01};
        sha256 s;
        sha256_start(&s);
        s.length = (uint64_t)1 << 29;
        sha256_end(&s, digest);
        sha256_start(&s);
        sha256_add(&s, block, sizeof block);
        for (size_t i = 0; i < 8; i++) store_u32(expected + 4 * i, __builtin_bswap32(s.state[i]));
        EXPECT_BYTES(digest, expected, HASH_SIZE);
    }
}

TEST(a_leaf_is_the_hash_of_zero_and_the_entry) {
    static uint8_t message[1 + 70000];
    uint64_t seed = 6;
    fill_random(&seed, message, sizeof message);
    message[0] = 0x00;
    static const size_t lengths[] = {0, 1, 54, 55, 56, 62, 63, 64, 118, 119, 126, 127, 128, 176, 4096, 65535, 70000};
    EACH_PATH {
        uint8_t expected[HASH_SIZE], leaf[HASH_SIZE];
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            sha256_whole(message, 1 + lengths[i], expected);
            leaf_hash(message + 1, lengths[i], leaf);
            EXPECT_BYTES(leaf, expected, HASH_SIZE);
        }
        leaf_hash(NULL, 0, leaf);
        EXPECT(is_hex(leaf, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"));
        /* The result may replace the entry. */
        uint8_t in_place[HASH_SIZE];
        memcpy(in_place, message + 1, HASH_SIZE);
        sha256_whole(message, 1 + HASH_SIZE, expected);
        leaf_hash(in_place, HASH_SIZE, in_place);
        EXPECT_BYTES(in_place, expected, HASH_SIZE);
    }
}

TEST(a_node_is_the_hash_of_one_and_both_children) {
    uint8_t bytes[200];
    pattern(bytes, sizeof bytes);
    const uint8_t *left = bytes, *right = bytes + 100;
    EACH_PATH {
        uint8_t expected[HASH_SIZE], node[HASH_SIZE], both[2][HASH_SIZE];
        node_hash(left, right, node);
        EXPECT(is_hex(node, "4dee0d867e908ec91a5b03fbb6c34a5b53b5658646efcc1eb6b4b835dffd8454"));
        uint64_t seed = 7;
        for (int round = 0; round < 100; round++) {
            uint8_t message[65] = {0x01};
            fill_random(&seed, message + 1, 64);
            sha256_whole(message, sizeof message, expected);
            node_hash(message + 1, message + 33, node);
            EXPECT_BYTES(node, expected, HASH_SIZE);
            /* The result may replace either child. */
            for (int side = 0; side < 2; side++) {
                memcpy(both, message + 1, sizeof both);
                node_hash(both[0], both[1], both[side]);
                EXPECT_BYTES(both[side], expected, HASH_SIZE);
                EXPECT_BYTES(both[1 - side], message + (side == 0 ? 33 : 1), HASH_SIZE);
            }
        }
    }
}

TEST(vectors_of_rfc_4231) {
    uint8_t filled[131], counted[25];
    for (size_t i = 0; i < sizeof counted; i++) counted[i] = (uint8_t)(i + 1);
    static const struct {
        size_t key_length;
        int key_byte; /* -1: "Jefe"; -2: 01 02 03 … */
        int data_byte; /* 50 of them; -1: the text */
        const char *text, *code;
    } vectors[] = {
        {20, 0x0b, -1, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {4, -1, -1, "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {20, 0xaa, 0xdd, "", "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {25, -2, 0xcd, "", "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
        /* The RFC gives this one cut to 128 bits. */
        {20, 0x0c, -1, "Test With Truncation", "a3b6167473100ee06e0c796c2955552b"},
        {131, 0xaa, -1, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {131, 0xaa, -1,
         "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed "
         "before being used by the HMAC algorithm.",
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    EACH_PATH {
        for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
            uint8_t data[50], code[HASH_SIZE], expected[HASH_SIZE];
            const void *secret = filled;
            if (vectors[i].key_byte == -1) secret = "Jefe";
            if (vectors[i].key_byte == -2) secret = counted;
            memset(filled, vectors[i].key_byte & 0xff, sizeof filled);
            memset(data, vectors[i].data_byte & 0xff, sizeof data);
            hmac_key key;
            hmac_prepare(&key, secret, vectors[i].key_length);
            if (vectors[i].data_byte == -1) hmac_whole(&key, vectors[i].text, strlen(vectors[i].text), code);
            else hmac_whole(&key, data, sizeof data, code);
            EXPECT_BYTES(code, expected, from_hex(vectors[i].code, expected, sizeof expected));
        }
    }
}

/* sha256(b"".join(hmac.new(pattern[:n], pattern[n:2 * n], "sha256").digest() for n in range(301))).hexdigest() */
TEST(hmac_of_every_length_up_to_300) {
    uint8_t bytes[600];
    pattern(bytes, sizeof bytes);
    EACH_PATH {
        uint8_t code[HASH_SIZE];
        sha256 codes;
        sha256_start(&codes);
        for (size_t length = 0; length <= 300; length++) {
            hmac_key key;
            hmac_prepare(&key, length > 0 ? bytes : NULL, length);
            hmac_whole(&key, length > 0 ? bytes + length : NULL, length, code);
            sha256_add(&codes, code, HASH_SIZE);
        }
        sha256_end(&codes, code);
        EXPECT(is_hex(code, "d988d191e4d918a18966d19c6e5c0a42e84e434d45dad83fedffd39bfc41793e"));
    }
}
