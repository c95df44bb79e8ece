/* hash_loop SEALED SEGMENT…: what a verification must compute, and nothing else.
 *
 * Reads the frames of segments in order, with the engine's own checksum and hashes, so that the two differ by what the engine does
 * around them:
 *
 *   each frame     CRC32C of its body; the leaf hash of its entry; the node hashes that the leaf completes (RFC 6962, 2.1)
 *   each segment   SHA-256 of its frames, for the first SEALED segments: a sealed segment's footer holds it
 *
 * One line of JSON: records, bytes (of frames), seconds, and the root's first bytes so that nobody can leave the work out.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "crc32c.h"
#include "frame.h"
#include "sha256.h"
#include "segment.h"

#define BUFFER ((size_t)1 << 20)

static uint8_t peaks[64][HASH_SIZE];
static uint64_t leaves, total_bytes;
static uint32_t checksums;

static void add_leaf(const uint8_t *entry, size_t length) {
    uint8_t node[HASH_SIZE];
    unsigned level = 0;
    leaf_hash(entry, length, node);
    for (uint64_t full = leaves; full & 1; full >>= 1) node_hash(peaks[level++], node, node);
    memcpy(peaks[level], node, HASH_SIZE);
    leaves++;
}

static uint64_t frame_length(const uint8_t *at) { return frame_size(load_u16(at + 6), load_u32(at + 8)); }

static int hash_segment(const char *path, bool sealed) {
    static uint8_t *buffer;
    static size_t room = BUFFER;
    int fd = open(path, O_RDONLY);
    if (buffer == NULL) buffer = malloc(room);
    if (fd < 0 || buffer == NULL) return 1;
    sha256 frames;
    uint8_t digest[HASH_SIZE];
    sha256_start(&frames);
    off_t offset = SEGMENT_FRAMES;
    for (;;) {
        ssize_t have = pread(fd, buffer, room, offset);
        if (have < 0) return 1;
        size_t at = 0;
        uint64_t length = 0;
        while (at + FRAME_HEADER <= (size_t)have && frame_may_start(buffer + at)) {
            const uint8_t *frame = buffer + at;
            length = frame_length(frame);
            if (at + length > (size_t)have) break;
            uint16_t entry = load_u16(frame + 6);
            checksums ^= crc32c(0, frame + FRAME_HEADER, entry + (size_t)load_u32(frame + 8));
            add_leaf(frame + FRAME_HEADER, entry);
            if (sealed) sha256_add(&frames, frame, (size_t)length);
            at += (size_t)length;
            length = 0;
        }
        if (at == 0 && length > room) {
            free(buffer);
            room = (size_t)length;
            if ((buffer = malloc(room)) == NULL) return 1;
            continue;
        }
        if (at == 0) break;
        offset += (off_t)at;
        total_bytes += at;
    }
    if (sealed) sha256_end(&frames, digest);
    return close(fd);
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    long sealed = strtol(argv[1], NULL, 10);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 2; i < argc; i++)
        if (hash_segment(argv[i], i - 2 < sealed) != 0) {
            perror(argv[i]);
            return 1;
        }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    printf("{\"records\": %llu, \"bytes\": %llu, \"seconds\": %.9f, \"cpu_seconds\": %.9f, \"check\": %u}\n", (unsigned long long)leaves,
           (unsigned long long)total_bytes, seconds, cpu_seconds(), (unsigned)(peaks[0][0] ^ checksums));
    return 0;
}
