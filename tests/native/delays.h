/* delays: makes threads meet where they rarely do. Include in one test file alone, and have its program linked with the --wrap
 * options that the Makefile gives to it.
 *
 * Every lock, every wait on a condition, and every call of the vfs that changes something is preceded and followed by a delay of
 * a length that is drawn: mostly none, often a turn of the scheduler, now and then a sleep that lets everybody else by. Where asked
 * for, some waits end though nobody woke them, as POSIX allows; not always, for that would hide who is never woken. What is drawn
 * follows from a seed and the order in which threads are born; who runs when is the machine's choice all the same, so a seed is a
 * start and no replay.
 */
#ifndef AEGIS_TESTS_DELAYS_H
#define AEGIS_TESTS_DELAYS_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "check.h"
#include "vfs.h"

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);

static atomic_bool delays_on;
static atomic_bool delays_rouse;
static _Atomic uint64_t delays_seed;
static _Atomic uint64_t delays_drawn;
static _Thread_local uint64_t delays_state;
/* Threads that wait on a condition: the mutex that each gave back tells when they really do. */
static _Atomic uint32_t delays_asleep;

static inline uint64_t delays_draw(void) {
    if (delays_state == 0) delays_state = atomic_fetch_add(&delays_seed, 0x51ed2701) | 1;
    atomic_fetch_add_explicit(&delays_drawn, 1, memory_order_relaxed);
    return next_random(&delays_state) >> 32;
}

static inline void delay(void) {
    if (!atomic_load_explicit(&delays_on, memory_order_relaxed)) return;
    uint64_t drawn = delays_draw();
    if (drawn % 256 == 0) nanosleep(&(struct timespec){.tv_nsec = 20000 + (long)(drawn >> 8) % 400000}, NULL);
    else if (drawn % 8 == 0) sched_yield();
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex) {
    delay();
    int code = __real_pthread_mutex_lock(mutex);
    delay();
    return code;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex) {
    int code = __real_pthread_mutex_unlock(mutex);
    delay();
    return code;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    if (atomic_load_explicit(&delays_rouse, memory_order_relaxed) && delays_draw() % 16 == 0) {
        __real_pthread_mutex_unlock(mutex);
        delay();
        return __real_pthread_mutex_lock(mutex);
    }
    atomic_fetch_add(&delays_asleep, 1);
    int code = __real_pthread_cond_wait(condition, mutex);
    atomic_fetch_sub(&delays_asleep, 1);
    delay();
    return code;
}

/* ---- the vfs ---------------------------------------------------------------------------------------------------------- */

static vfs delays_below;

static inline int delays_write(vfs *self, vfs_file *file, uint64_t offset, const void *bytes, size_t length) {
    delay();
    int code = delays_below.write(self, file, offset, bytes, length);
    delay();
    return code;
}

static inline int delays_sync(vfs *self, vfs_file *file) {
    delay();
    int code = delays_below.sync(self, file);
    delay();
    return code;
}

static inline int delays_read(vfs *self, vfs_file *file, uint64_t offset, void *bytes, size_t length, size_t *got) {
    delay();
    int code = delays_below.read(self, file, offset, bytes, length, got);
    delay();
    return code;
}

static inline int delays_rename(vfs *self, vfs_dir *dir, const char *from, const char *to) {
    delay();
    int code = delays_below.rename(self, dir, from, to);
    delay();
    return code;
}

static inline void delays_ring(vfs *self, vfs_bell *bell) {
    delay();
    delays_below.bell_ring(self, bell);
    delay();
}

/* From here on the backend `v` is slow at times, and so is every lock. Not while any thread is in it. */
static inline void delays_begin(vfs *v, uint64_t seed, bool rouse) {
    delays_below = *v;
    v->write = delays_write;
    v->sync = delays_sync;
    v->read = delays_read;
    v->rename = delays_rename;
    v->bell_ring = delays_ring;
    atomic_store(&delays_seed, seed << 40);
    atomic_store(&delays_drawn, 0);
    atomic_store(&delays_rouse, rouse);
    atomic_store(&delays_on, true);
}

static inline void delays_end(vfs *v) {
    atomic_store(&delays_on, false);
    atomic_store(&delays_rouse, false);
    *v = delays_below;
    EXPECT(atomic_load(&delays_drawn) > 1000);    /* the program is linked as it should be */
}

#endif
