/* vfs_posix_bell: see vfs_posix_bell.h. */
#define _FILE_OFFSET_BITS 64
#define _DARWIN_C_SOURCE 1
#include "vfs_posix_bell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "vfs_posix_fork.h"

/* One descriptor instead of a pipe's two. AEGIS_PIPE builds the fallback on Linux, to have it compiled somewhere. */
#if defined(__linux__) && !defined(AEGIS_PIPE)
#define HAVE_EVENTFD 1
#include <sys/eventfd.h>
#else
#define HAVE_EVENTFD 0
#endif

struct vfs_bell {
    struct descriptor heard, rung;          /* the ends of a pipe; an eventfd is both of its own, and `heard` holds it */
};

void posix_bell_free(vfs *self, vfs_bell *bell) {
    (void)self;
    if (bell == NULL) return;
    dismiss(&bell->heard, NULL);
    dismiss(&bell->rung, NULL);
    free(bell);
}

/* The number of the error, or 0. Neither end may wait: the one that rings holds up a commit, the one that mutes an event loop. */
static int enrol_bell(vfs_bell *bell) {
#if HAVE_EVENTFD
    return enrol_opened(&bell->heard, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
#else
    int ends[2], error = 0;
    if (pipe(ends) != 0) return errno;
    for (int i = 0; i < 2; i++)
        if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) != 0 || fcntl(ends[i], F_SETFL, O_NONBLOCK) != 0) error = errno;
    int heard = enrol_opened(&bell->heard, ends[0]), rung = enrol_opened(&bell->rung, ends[1]);
    return error != 0 ? error : heard != 0 ? heard : rung;
#endif
}

int posix_bell_new(vfs *self, vfs_bell **out, int *fd) {
    vfs_bell *bell = malloc(sizeof *bell);
    if (bell == NULL) return fail(AEGIS_E_NOMEM, "no memory for a bell");
    bell->heard = (struct descriptor){-1, &bell->heard, &bell->heard};
    bell->rung = (struct descriptor){-1, &bell->rung, &bell->rung};
    enrolment_begin();
    int error = enrol_bell(bell);
    enrolment_end();
    if (error != 0) {
        posix_bell_free(self, bell);
        return fail_system(error, "make", "a bell for an event loop");
    }
    *fd = bell->heard.fd;
    *out = bell;
    return AEGIS_OK;
}

/* Eight bytes are what an eventfd takes; a pipe that is full of them has rung. */
void posix_bell_ring(vfs *self, vfs_bell *bell) {
    (void)self;
    const uint64_t one = 1;
    int fd = HAVE_EVENTFD ? bell->heard.fd : bell->rung.fd;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

void posix_bell_mute(vfs *self, vfs_bell *bell) {
    (void)self;
    uint64_t rung[64];
    ssize_t n;
    do n = read(bell->heard.fd, rung, sizeof rung);
    while (n == (ssize_t)sizeof rung || (n < 0 && errno == EINTR));
}
