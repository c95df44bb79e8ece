/* sha256: SHA-256 (FIPS 180-4), the RFC 6962 node hashes on it, and HMAC-SHA-256 (RFC 2104) with a prepared key. */
#ifndef AEGIS_SHA256_H
#define AEGIS_SHA256_H

#include "base.h"

typedef struct sha256 {
    uint32_t state[8];
    uint64_t length;         /* bytes so far */
    uint8_t block[64];
} sha256;

void sha256_start(sha256 *s);
void sha256_add(sha256 *s, const void *bytes, size_t length);
/* The same for two digests at once, which costs little more than one where the processor has instructions for it. */
void sha256_add_two(sha256 *a, const uint8_t *bytes_a, size_t length_a, sha256 *b, const uint8_t *bytes_b, size_t length_b);
void sha256_end(sha256 *s, uint8_t digest[HASH_SIZE]);
void sha256_whole(const void *bytes, size_t length, uint8_t digest[HASH_SIZE]);

/* RFC 6962 section 2.1: SHA-256(0x00 || entry) and SHA-256(0x01 || left || right). `out` may be one of the inputs. */
void leaf_hash(const void *entry, size_t length, uint8_t out[HASH_SIZE]);
void node_hash(const uint8_t left[HASH_SIZE], const uint8_t right[HASH_SIZE], uint8_t out[HASH_SIZE]);

/* A key with its two pad blocks hashed already: each code then costs only the message and one block. */
typedef struct hmac_key {
    uint32_t inner[8];
    uint32_t outer[8];
} hmac_key;

void hmac_prepare(hmac_key *key, const void *secret, size_t length);
void hmac_whole(const hmac_key *key, const void *message, size_t length, uint8_t code[HASH_SIZE]);

/* The name of the path in use: "sha-ni", "armv8-sha2" or "portable". */
const char *sha256_path(void);

#endif
