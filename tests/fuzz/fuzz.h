/* fuzz: what the targets share. A target is one file that defines LLVMFuzzerTestOneInput over one decoder:
 *
 *   #include "fuzz.h"
 *
 *   FUZZ_WITHOUT(NO_FRAME_END_TEST)
 *
 *   int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
 *       input in = {data, size};
 *       unsigned mode = take_u8(&in);
 *       …
 *       DEMAND(what was accepted is what the format says);
 *   }
 *
 * The first byte of an input is its mode: whether checksums and codes are made right before the decoder sees the bytes, so that the
 * rest is reached although the fuzzer can guess neither. Without them the bytes are taken as they stand.
 *
 * The same file is linked with libFuzzer (coverage-guided, clang), or with replay.c (any compiler: runs files that are given).
 */
#ifndef AEGIS_FUZZ_H
#define AEGIS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "crc32c.h"
#include "scope.h"
#include "vfs_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum mode {
    MODE_SUMS = 1,           /* checksums are made right */
    MODE_CODES = 2,          /* and what the secret makes: links, codes of slots, footers, outlines and manifests */
    MODE_STRANGER = 4,       /* the reader has no secret */
    MODE_BLOCKS = 8,         /* alignment 4096 */
    MODE_OTHER = 16,         /* what it is for is the target's to say */
};

/* Which safeguard of the decoder is out in a build that can take them out (native/src/mutants.h): its target must find that. */
#ifdef AEGIS_MUTANTS
#define FUZZ_WITHOUT(name)                                      \
    int LLVMFuzzerInitialize(int *argc, char ***argv) {         \
        (void)argc;                                             \
        (void)argv;                                             \
        aegis_mutant = MUTANT_##name;                         \
        return 0;                                               \
    }
#else
#define FUZZ_WITHOUT(name)                                      \
    int LLVMFuzzerInitialize(int *argc, char ***argv) {         \
        (void)argc;                                             \
        (void)argv;                                             \
        return 0;                                               \
    }
#endif

/* Ends the program, as a sanitizer's finding does, with what does not hold. */
#define DEMAND(condition)                                                                       \
    do {                                                                                        \
        if (!(condition)) fuzz_broken(#condition, __FILE__, __LINE__);                          \
    } while (0)

__attribute__((noreturn)) static inline void fuzz_broken(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

/* ---- what an input says ------------------------------------------------------------------------------------------------ */

/* Read from the front; where it has ended, zeros follow. */
typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static inline void take(input *in, void *to, size_t length) {
    size_t there = length < in->left ? length : in->left;
    memset(to, 0, length);
    if (there > 0) memcpy(to, in->at, there);
    in->at += there;
    in->left -= there;
}

static inline uint8_t take_u8(input *in) {
    uint8_t byte;
    take(in, &byte, 1);
    return byte;
}

static inline uint16_t take_u16(input *in) {
    uint8_t bytes[2];
    take(in, bytes, sizeof bytes);
    return load_u16(bytes);
}

static inline uint32_t take_u32(input *in) {
    uint8_t bytes[4];
    take(in, bytes, sizeof bytes);
    return load_u32(bytes);
}

static inline uint64_t take_u64(input *in) {
    uint8_t bytes[8];
    take(in, bytes, sizeof bytes);
    return load_u64(bytes);
}

/* Memory of exactly that size, so that a sanitizer sees the first byte beyond it. */
static inline uint8_t *own(const void *bytes, size_t length) {
    uint8_t *copy = malloc(length > 0 ? length : 1);
    DEMAND(copy != NULL);
    if (length > 0) memcpy(copy, bytes, length);
    return copy;
}

/* ---- whose bytes they are ---------------------------------------------------------------------------------------------- */

static const uint8_t FUZZ_SECRET[32] = "a secret of thirty-two bytes ..";
static const uint8_t FUZZ_ID[STORE_ID_SIZE] = "a store's own id";
#define FUZZ_TIER AEGIS_TIER_SESSION

static inline scope fuzz_scope(vfs *v, unsigned mode) {
    scope s = {.vfs = v, .tier = FUZZ_TIER, .align = mode & MODE_BLOCKS ? 4096 : 8, .keyed = !(mode & MODE_STRANGER)};
    memcpy(s.store_id, FUZZ_ID, STORE_ID_SIZE);
    hmac_prepare(&s.key, FUZZ_SECRET, sizeof FUZZ_SECRET);
    return s;
}

/* A machine with an empty directory that records nothing. */
static inline vfs_sim *fuzz_machine(vfs_dir **root) {
    vfs_sim *sim = vfs_sim_new(1);
    DEMAND(sim != NULL);
    DEMAND(vfs_sim_settle(sim, false) == AEGIS_OK);
    vfs *v = vfs_sim_vfs(sim);
    DEMAND(v->open_root(v, "store", VFS_CREATE, root) == AEGIS_OK);
    return sim;
}

/* Everything that was opened was closed again. */
static inline void fuzz_end(vfs_sim *sim, vfs_dir *root) {
    vfs *v = vfs_sim_vfs(sim);
    if (root != NULL) v->close_dir(v, root);
    DEMAND(vfs_sim_open_count(sim) == 0);
    vfs_sim_free(sim);
}

/* What a decoder may say about bytes from anywhere. */
static inline bool is_judgement(int code) {
    return code == AEGIS_OK || code == AEGIS_E_CORRUPT || code == AEGIS_E_TORN || code == AEGIS_E_VERSION || code == AEGIS_E_FOREIGN ||
           code == AEGIS_E_SECRET || code == AEGIS_E_NOTFOUND || code == AEGIS_E_NOTSTORE || code == AEGIS_E_ROLLBACK;
}

/* CRC32C as its definition says it, to check the engine's by. */
static inline uint32_t plain_crc32c(uint32_t crc, const uint8_t *bytes, size_t length) {
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

#endif
