/* hash_loop: the hashes and checksums of `verify`, and nothing else: the limit that its rate is a fraction of.
 *
 *   cc -O2 -D_GNU_SOURCE -Inative/include -Inative/src bench/rivals/hash_loop.c native/src/{sha256,crc32c,cpu,error}.c \
 *      native/src/{x86,arm}/*.c -o hash_loop && ./hash_loop ROUNDS state/session/<number>.seg …
 *
 * Over the same bytes in the same order: of each frame the checksum of its body and the leaf hash (RFC 6962), of the leaves the inner
 * nodes of the tree, of a sealed segment the SHA-256 of all its frames, of the others a link for each frame, under a key of zeros. It
 * compares nothing, knows no damage, and believes every length. Prints the seconds of each round, the records and the bytes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crc32c.h"
#include "sha256.h"

enum { FRAMES = 12288, HEADER = 48, WINDOW = 1 << 18, FOOTER = 256, LINK = 77, BODY = 27 };

typedef struct totals {
    uint64_t records;
    uint64_t bytes;
    uint32_t crc;
    uint8_t peaks[64][HASH_SIZE];
    hmac_key key;
} totals;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void frame_work(totals *t, sha256 *frames, const uint8_t *bytes, size_t size, uint32_t entry, uint32_t payload) {
    uint8_t link[LINK] = {'L'}, code[HASH_SIZE], leaf[HASH_SIZE];
    leaf_hash(bytes + HEADER, entry, leaf);
    uint32_t crc = crc32c(0, bytes, BODY);
    crc = crc32c(crc, bytes + HEADER, (size_t)entry + payload);
    t->crc ^= crc32c(crc, bytes + 16, 9);
    if (frames != NULL) sha256_add(frames, bytes, size);
    else hmac_whole(&t->key, link, sizeof link, code);
    unsigned level = 0;
    for (uint64_t carry = t->records; carry & 1; carry >>= 1, level++) node_hash(t->peaks[level], leaf, leaf);
    memcpy(t->peaks[level], leaf, HASH_SIZE);
    t->records++;
    t->bytes += size;
}

static int segment_work(totals *t, const char *path, uint8_t *window) {
    struct stat about;
    uint8_t footer[FOOTER], digest[HASH_SIZE];
    sha256 frames;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &about) != 0) return -1;
    uint64_t at = FRAMES, end = (uint64_t)about.st_size;
    bool sealed = pread(file, footer, FOOTER, about.st_size - FOOTER) == FOOTER && memcmp(footer, "AEGISFTR", 8) == 0;
    if (sealed) end = load_u64(footer + 64);
    sha256_start(&frames);
    while (at < end) {
        ssize_t got = pread(file, window, WINDOW, (off_t)at);
        size_t limit = got < 0 ? 0 : (size_t)min_u64((uint64_t)got, end - at), used = 0;
        while (used + HEADER <= limit && memcmp(window + used, "AFR0", 4) == 0) {
            uint32_t entry = load_u16(window + used + 6), payload = load_u32(window + used + 8);
            size_t size = (size_t)align_up(HEADER + (uint64_t)entry + payload, 8);
            if (used + size > limit) break;
            frame_work(t, sealed ? &frames : NULL, window + used, size, entry, payload);
            used += size;
        }
        if (used == 0) break;    /* the zeros behind the frames, or one larger than the window: not for this loop */
        at += used;
    }
    sha256_end(&frames, digest);
    close(file);
    return 0;
}

int main(int argc, char **argv) {
    uint8_t *window = malloc(WINDOW);
    if (argc < 3 || window == NULL) return 2;
    for (int round = 0; round < atoi(argv[1]); round++) {
        static totals t;
        memset(&t, 0, sizeof t);
        hmac_prepare(&t.key, (const uint8_t[32]){0}, 32);
        double start = now();
        for (int i = 2; i < argc; i++)
            if (segment_work(&t, argv[i], window) != 0) return 1;
        printf("%.6f s %llu records %llu bytes\n", now() - start, (unsigned long long)t.records, (unsigned long long)t.bytes);
    }
    free(window);
    return 0;
}
