/* vfs_posix_bell.c: bells that an event loop hears. */
#include "check.h"

#include <poll.h>

#include "vfs_place.h"

static bool heard(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

TEST(a_bell_is_heard_until_it_is_muted_however_often_it_was_rung) {
    if (!begin()) return;
    vfs_bell *bell = NULL, *other = NULL;
    int ear = -1, other_ear = -1;
    EXPECT_OK(v->bell_new(v, &bell, &ear));
    EXPECT_OK(v->bell_new(v, &other, &other_ear));
    EXPECT(ear > 2 && (fcntl(ear, F_GETFD) & FD_CLOEXEC) != 0);
    EXPECT(!heard(ear));
    v->bell_mute(v, bell);    /* does not wait for a ring */
    /* More than a pipe holds. */
    for (int rings = 1; rings <= 10000; rings *= 10) {
        for (int i = 0; i < rings; i++) v->bell_ring(v, bell);
        EXPECT(heard(ear) && heard(ear) && !heard(other_ear));
        v->bell_mute(v, bell);
        EXPECT(!heard(ear));
    }
    v->bell_free(v, bell);
    EXPECT(fcntl(ear, F_GETFD) < 0);
    v->bell_ring(v, other);
    EXPECT(heard(other_ear));
    v->bell_free(v, other);
    v->bell_free(v, NULL);
    end();
}
