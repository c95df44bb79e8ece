/* hashing: see hashing.h. */
#include "hashing.h"

static void take(hashing_part a, hashing_part b) { sha256_add_two(a.digest, a.bytes, a.length, b.digest, b.bytes, b.length); }

static void *take_pieces(void *context) {
    hashing *h = context;
    pthread_mutex_lock(&h->mutex);
    for (;;) {
        while (h->done_count == h->given_count && !h->stop) pthread_cond_wait(&h->given, &h->mutex);
        if (h->done_count == h->given_count) break;
        const hashing_piece piece = h->pieces[h->done_count % HASHING_PIECES];
        pthread_mutex_unlock(&h->mutex);
        take(piece.a, piece.b);
        pthread_mutex_lock(&h->mutex);
        h->done_count++;
        pthread_cond_signal(&h->taken);
    }
    pthread_mutex_unlock(&h->mutex);
    return NULL;
}

void hashing_start(hashing *h) {
    memset(h, 0, sizeof *h);
    pthread_mutex_init(&h->mutex, NULL);
    pthread_cond_init(&h->given, NULL);
    pthread_cond_init(&h->taken, NULL);
    h->threaded = pthread_create(&h->thread, NULL, take_pieces, h) == 0;
}

uint64_t hashing_give(hashing *h, hashing_part a, hashing_part b) {
    if (!h->threaded) {
        take(a, b);
        return 0;
    }
    pthread_mutex_lock(&h->mutex);
    while (h->given_count - h->done_count == HASHING_PIECES) pthread_cond_wait(&h->taken, &h->mutex);
    h->pieces[h->given_count++ % HASHING_PIECES] = (hashing_piece){a, b};
    uint64_t number = h->given_count;
    pthread_cond_signal(&h->given);
    pthread_mutex_unlock(&h->mutex);
    return number;
}

void hashing_wait(hashing *h, uint64_t number) {
    if (!h->threaded) return;
    pthread_mutex_lock(&h->mutex);
    while (h->done_count < number) pthread_cond_wait(&h->taken, &h->mutex);
    pthread_mutex_unlock(&h->mutex);
}

void hashing_stop(hashing *h) {
    if (h->threaded) {
        pthread_mutex_lock(&h->mutex);
        h->stop = true;
        pthread_cond_signal(&h->given);
        pthread_mutex_unlock(&h->mutex);
        pthread_join(h->thread, NULL);
        h->threaded = false;
    }
    pthread_cond_destroy(&h->given);
    pthread_cond_destroy(&h->taken);
    pthread_mutex_destroy(&h->mutex);
}
