/* c_loop FILE THREADS SECONDS: the limit. Appends of 4 KiB, each one pwrite and one fdatasync, to a file whose blocks were written
 * before.
 *
 * All threads use one file, as a log's writers do: each takes the next 4 KiB of it, and begins again at its start when it is full.
 * Nothing is checked, framed, shared or found again: a store cannot be faster for one thread, unless it groups.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "loop.h"

#define RECORD 4096u
#define SLOTS 16384u

static int fd;
static _Atomic uint64_t next_slot;
static unsigned char records[THREADS_MAX][RECORD];

static int append_one(void *context, unsigned thread, uint64_t turn) {
    (void)context;
    uint64_t slot = atomic_fetch_add_explicit(&next_slot, 1, memory_order_relaxed) % SLOTS;
    memcpy(records[thread], &turn, sizeof turn);
    if (pwrite(fd, records[thread], RECORD, (off_t)(slot * RECORD)) != (ssize_t)RECORD) return 1;
    return fdatasync(fd) == 0 ? 0 : 1;
}

static int write_zeros(void) {
    static unsigned char zeros[1u << 20];
    if (lseek(fd, 0, SEEK_END) == (off_t)SLOTS * RECORD) return 0;
    for (uint64_t at = 0; at < (uint64_t)SLOTS * RECORD; at += sizeof zeros)
        if (pwrite(fd, zeros, sizeof zeros, (off_t)at) != (ssize_t)sizeof zeros) return 1;
    return fsync(fd);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    if (fd < 0 || write_zeros() != 0) {
        perror("the file");
        return 1;
    }
    srandom(1);
    for (unsigned t = 0; t < THREADS_MAX; t++)
        for (unsigned i = 0; i < RECORD; i++) records[t][i] = (unsigned char)random();
    return run_loop(NULL, (unsigned)atoi(argv[2]), atof(argv[3]));
}
