/* hashing: SHA-256 of what goes by, on a thread of its own, so that it overlaps with reading and writing. It touches memory only.
 *
 * Pieces are taken in the order in which they are given. Each is of two digests, which takes little longer than of one. Where no thread can be had they are hashed at once,
 * by the caller. One thread gives and waits.
 */
#ifndef AEGIS_HASHING_H
#define AEGIS_HASHING_H

#include <pthread.h>

#include "sha256.h"

#define HASHING_PIECES 8u

typedef struct hashing_part {
    sha256 *digest;
    const uint8_t *bytes;
    size_t length;           /* may be 0 */
} hashing_part;

typedef struct hashing_piece {
    hashing_part a, b;
} hashing_piece;

typedef struct hashing {
    pthread_t thread;
    bool threaded;
    bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t given;
    pthread_cond_t taken;
    hashing_piece pieces[HASHING_PIECES];    /* a ring */
    uint64_t given_count;
    uint64_t done_count;
} hashing;

void hashing_start(hashing *h);
/* The digests take the bytes in, which stay where they are until hashing_wait has been told of the number that this returns. */
uint64_t hashing_give(hashing *h, hashing_part a, hashing_part b);
/* Returns when the piece of this number, and all before it, were taken in. */
void hashing_wait(hashing *h, uint64_t number);
/* Takes in what was given, and ends the thread. */
void hashing_stop(hashing *h);

#endif
