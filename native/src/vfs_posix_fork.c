/* vfs_posix_fork: see vfs_posix_fork.h. */
#define _FILE_OFFSET_BITS 64
#define _DARWIN_C_SOURCE 1
#include "vfs_posix_fork.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static struct descriptor enrolled = {-1, &enrolled, &enrolled};
static pthread_mutex_t enrolment = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fork_hooks_once = PTHREAD_ONCE_INIT;
static int fork_hooks_error;
static uint64_t fork_count;                 /* written only in a child that has one thread yet */

uint64_t vfs_fork_count(void) { return fork_count; }

static void before_fork(void) { pthread_mutex_lock(&enrolment); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&enrolment); }

static void after_fork_in_child(void) {
    struct descriptor *next;
    for (struct descriptor *d = enrolled.next; d != &enrolled; d = next) {
        next = d->next;
        close(d->fd);
        *d = (struct descriptor){-1, d, d};
    }
    enrolled.previous = enrolled.next = &enrolled;
    fork_count++;
    /* Made anew instead of unlocked: some systems let only the thread that locked it unlock, and that one is in the parent. */
    enrolment = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

static void install_fork_hooks(void) {
    fork_hooks_error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int prepare_for_fork(void) {
    pthread_once(&fork_hooks_once, install_fork_hooks);
    return fork_hooks_error;
}

void enrolment_begin(void) { pthread_mutex_lock(&enrolment); }
void enrolment_end(void) { pthread_mutex_unlock(&enrolment); }

int enrol_opened(struct descriptor *d, int fd) {
    int error = fd < 0 ? errno : 0;
    if (fd >= 0 && fd <= STDERR_FILENO) {
        int low = fd;
        fd = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (fd < 0) error = errno;
        close(low);
    }
    *d = (struct descriptor){fd, d, d};
    if (fd >= 0) {
        *d = (struct descriptor){fd, enrolled.previous, &enrolled};
        enrolled.previous->next = d;
        enrolled.previous = d;
    }
    return error;
}

int enrol(struct descriptor *d, int at, const char *name, int flags) {
    enrolment_begin();
    int fd;
    do fd = openat(at, name, flags | O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    int error = enrol_opened(d, fd);
    enrolment_end();
    return error;
}

void let_go(struct descriptor *d) {
#ifdef __linux__
    if (d->fd < 0) return;
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0) return;
    (void)dup3(nothing, d->fd, O_CLOEXEC);
    close(nothing);
#else
    (void)d;
#endif
}

/* The result of close is ignored: Linux frees the number even on EINTR, and what matters was synced before. */
void dismiss(struct descriptor *d, DIR *stream) {
    pthread_mutex_lock(&enrolment);
    if (d->fd >= 0) {
        d->previous->next = d->next;
        d->next->previous = d->previous;
        if (stream != NULL) closedir(stream);
        else close(d->fd);
        *d = (struct descriptor){-1, d, d};
    }
    pthread_mutex_unlock(&enrolment);
}
