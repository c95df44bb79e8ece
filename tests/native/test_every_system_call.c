/* A store on a real file system, and the system calls themselves misbehaving: interrupted, short, refused, each in turn; no
 * descriptors to be had, files that may not grow, a place that became read-only.
 *
 * Functions of this program stand before those of the C library and misbehave where they are told to. trials.h asks the same of
 * the engine on a simulated machine and cuts its power as well; here vfs_posix.c is what is tested, under the whole engine.
 */
#include "stores.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>

#include "vfs_place.h"

#define PAYLOAD 1200u

/* ---- system calls that misbehave -------------------------------------------------------------------------------------- */

enum { BEHAVE, INTERRUPT, SHORTEN, REFUSE };

static struct {
    int what;
    int error;                  /* of REFUSE */
    bool every;                 /* each call is hit once; interrupted twice, so that retrying once is not enough */
    uint64_t nth;               /* else this one */
    uint64_t calls, hits;
} trick;

static unsigned in_a_row;

/* Whether this call is hit; with errno set where it is to fail. */
static int misbehaves(bool transfers) {
    if (trick.what == BEHAVE || (trick.what == SHORTEN && !transfers)) return BEHAVE;
    if (trick.every && in_a_row == (trick.what == INTERRUPT ? 2 : 1)) {
        in_a_row = 0;
        return BEHAVE;
    }
    trick.calls++;
    if (!trick.every && trick.calls != trick.nth) return BEHAVE;
    in_a_row++;
    trick.hits++;
    errno = trick.what == INTERRUPT ? EINTR : trick.error;
    return trick.what;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    int what = misbehaves(true);
    if (what == INTERRUPT || what == REFUSE) return -1;
    return REAL(pwrite64)(fd, bytes, what == SHORTEN ? (length + 1) / 2 : length, offset);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t offset) {
    int what = misbehaves(true);
    if (what == INTERRUPT || what == REFUSE) return -1;
    return REAL(pread64)(fd, bytes, what == SHORTEN ? (length + 1) / 2 : length, offset);
}

int fdatasync(int fd) { return misbehaves(false) != BEHAVE ? -1 : REAL(fdatasync)(fd); }
int fsync(int fd) { return misbehaves(false) != BEHAVE ? -1 : REAL(fsync)(fd); }
int ftruncate64(int fd, off64_t size) { return misbehaves(false) != BEHAVE ? -1 : REAL(ftruncate64)(fd, size); }

int openat64(int at, const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    unsigned mode = va_arg(more, unsigned);
    va_end(more);
    return misbehaves(false) != BEHAVE ? -1 : REAL(openat64)(at, name, flags, mode);
}

/* These are never interrupted; refused they may be. */
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return trick.what == REFUSE && misbehaves(false) != BEHAVE ? -1 : REAL(renameat)(from_at, from, to_at, to);
}

int unlinkat(int at, const char *name, int flags) {
    return trick.what == REFUSE && misbehaves(false) != BEHAVE ? -1 : REAL(unlinkat)(at, name, flags);
}

/* ---- a life of a store ------------------------------------------------------------------------------------------------ */

static char store_path[600];
static uint64_t submitted, acknowledged;

static bool begin_life(void) {
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);    /* syncs cost nothing there */
    submitted = acknowledged = 0;
    if (!begin()) return false;
    snprintf(store_path, sizeof store_path, "%s/store", place_path);
    return true;
}

/* OK, or what the fault makes of it. */
static bool fair(int code, int expected) {
    bool right = code == AEGIS_OK || code == expected || code == AEGIS_E_POISONED || code == AEGIS_E_UNKNOWN;
    return EXPECT(right) || (EXPECT_CODE(code, expected), false);
}

/* Two tiers, a rotation, upkeep, a watcher, reading, a close; then a reader. Goes on after what it is told. */
static void live(int expected) {
    static uint8_t buffer[1 << 16];
    aegis_store *store = NULL;
    aegis_watcher *watcher = NULL;
    aegis_record record;
    uint64_t wait = 0;
    int fd = 0;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    if (!fair(aegis_open(store_path, &o, &store, NULL), expected) || store == NULL) return;
    for (unsigned turn = 0; turn < 20; turn++) {
        for (unsigned i = 0; i < 5; i++)
            if (append_record(store, SESSION, submitted, PAYLOAD) == AEGIS_OK) submitted++;
        int code = submitted == 0 ? AEGIS_OK : aegis_commit(store, SESSION, submitted - 1);
        if (fair(code, expected) && code == AEGIS_OK) acknowledged = submitted;
        if (turn % 6 == 5) EXPECT_OK(aegis_background(store, &wait));
    }
    int watched = aegis_watch_start(store, &watcher, &fd);
    fair(watched, expected);
    for (uint64_t i = 0; i < acknowledged; i += 30) fair(aegis_read(store, SESSION, i, buffer, sizeof buffer, &record), expected);
    int code = aegis_close(store);
    if (fair(code, expected) && code == AEGIS_OK) acknowledged = submitted;
    if (watched == AEGIS_OK) aegis_watch_end(watcher);
    o.mode = AEGIS_MODE_READ;
    store = NULL;
    code = aegis_open(store_path, &o, &store, NULL);
    if (code == AEGIS_E_NOTFOUND) EXPECT_EQ_U64(acknowledged, 0);    /* it never came to be */
    else fair(code, expected);
    if (code == AEGIS_OK) EXPECT_OK(aegis_close(store));
}

/* What was acknowledged is there, nothing is open, and the store works. */
static void end_life(void) {
    trick.what = BEHAVE;
    EXPECT_EQ_U64((unsigned)descriptors_here(true), 1);    /* the place itself */
    aegis_store *store = NULL;
    const aegis_options o = test_options(AEGIS_MODE_APPEND);
    if (EXPECT_OK(aegis_open(store_path, &o, &store, NULL))) {
        uint64_t size = size_of(store, SESSION);
        EXPECT(size >= acknowledged && size <= submitted);
        for (uint64_t i = 0; i < size; i++)
            if (!has_record(store, SESSION, i, PAYLOAD)) break;
        EXPECT_OK(append_committed(store, SESSION, size, PAYLOAD));
        EXPECT_OK(aegis_close(store));
    }
    end();
}

/* ---- interrupted and short: nothing shows ----------------------------------------------------------------------------- */

static void unnoticed(int what) {
    trick.what = what;
    trick.calls = trick.hits = in_a_row = 0;
    live(AEGIS_OK);
    trick.what = BEHAVE;
    EXPECT_EQ_U64(acknowledged, 100);
}

TEST(every_system_call_at_once_may_be_interrupted_and_nothing_shows) {
    if (!begin_life()) return;
    trick.every = true;
    unnoticed(INTERRUPT);
    EXPECT(trick.hits > 200);
    end_life();
}

TEST(every_transfer_at_once_may_be_short_and_nothing_shows) {
    if (!begin_life()) return;
    trick.every = true;
    unnoticed(SHORTEN);
    EXPECT(trick.hits > 100);
    end_life();
}

static void each_alone(int what) {
    uint64_t nth = 1;
    trick.every = false;
    do {
        if (!begin_life()) return;
        trick.nth = nth;
        unnoticed(what);
        end_life();
        if (atomic_load(&check_failures) > 0) printf("    call %" PRIu64 "\n", nth);
    } while (trick.hits > 0 && nth++ < 1000 && atomic_load(&check_failures) == 0);
    EXPECT(nth > 50);
    printf("    %" PRIu64 " calls\n", nth - 1);
}

TEST(each_system_call_alone_may_be_interrupted) { each_alone(INTERRUPT); }
TEST(each_transfer_alone_may_be_short) { each_alone(SHORTEN); }

/* ---- refused: a typed error, nothing open, nothing lost --------------------------------------------------------------- */

static void refuse_each(int error) {
    const int expected = fail_system(error, "", "");
    uint64_t nth = 1;
    trick.every = false;
    do {
        if (!begin_life()) return;
        trick.what = REFUSE;
        trick.error = error;
        trick.nth = nth;
        trick.calls = trick.hits = in_a_row = 0;
        live(expected);
        end_life();
        if (atomic_load(&check_failures) > 0) printf("    call %" PRIu64 ", errno %d\n", nth, error);
    } while (trick.hits > 0 && nth++ < 1000 && atomic_load(&check_failures) == 0);
    EXPECT(nth > 100);
    printf("    errno %d: %" PRIu64 " calls\n", error, nth - 1);
}

TEST(each_system_call_may_fail_with_an_io_error) { refuse_each(EIO); }
TEST(each_system_call_may_fail_for_the_quota) { refuse_each(EDQUOT); }
TEST(each_system_call_may_fail_for_want_of_descriptors) { refuse_each(ENFILE); }

/* ---- limits of the process -------------------------------------------------------------------------------------------- */

static void limit(int what, rlim_t most) {
    struct rlimit now;
    EXPECT(getrlimit(what, &now) == 0);
    now.rlim_cur = most;
    EXPECT(setrlimit(what, &now) == 0);
}

static void with_few_descriptors(void) {
    struct rlimit before;
    uint64_t complete = 0;
    EXPECT(getrlimit(RLIMIT_NOFILE, &before) == 0);
    for (rlim_t most = 3; most < 40; most++) {
        if (!begin_life()) return;
        limit(RLIMIT_NOFILE, most);
        live(AEGIS_E_DESCRIPTORS);
        limit(RLIMIT_NOFILE, before.rlim_cur);
        complete += acknowledged == 100;
        end_life();
    }
    EXPECT(complete > 5 && complete < 37);
}

TEST(with_any_number_of_descriptors_it_works_or_says_so) { in_child(with_few_descriptors); }

/* A write past the limit takes what fits and then says EFBIG; the signal that comes with it is the process's own affair. */
static void with_small_files(void) {
    uint64_t complete = 0;
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t most = 0; most < 140000; most += 7001) {
        if (!begin_life()) return;
        limit(RLIMIT_FSIZE, most);
        live(AEGIS_E_NOSPACE);
        limit(RLIMIT_FSIZE, RLIM_INFINITY);
        complete += acknowledged == 100;
        end_life();
    }
    EXPECT(complete > 0 && complete < 20);
}

TEST(files_that_may_not_grow_are_a_full_disk) { in_child(with_small_files); }

/* ---- a place that changed --------------------------------------------------------------------------------------------- */

static void as_a_stranger(void) {
    aegis_store *store = NULL;
    aegis_options o = test_options(AEGIS_MODE_WRITE);
    if (geteuid() == 0) EXPECT(setgid(65534) == 0 && setuid(65534) == 0);
    EXPECT_CODE(aegis_open(store_path, &o, &store, NULL), AEGIS_E_READONLY);
    EXPECT(message_has("LOCK"));
    o.mode = AEGIS_MODE_READ;
    if (!EXPECT_OK(aegis_open(store_path, &o, &store, NULL))) return;
    EXPECT_EQ_U64(size_of(store, SESSION), 100);
    EXPECT(has_record(store, SESSION, 99, PAYLOAD));
    EXPECT_OK(verify_whole(store, SESSION));
    EXPECT_OK(aegis_close(store));
}

static int open_to_all(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)walk;
    return chmod(path, type == FTW_DP || type == FTW_D ? 0555 : 0444);
}

TEST(a_directory_that_became_read_only_is_read_and_not_written) {
    if (!begin_life()) return;
    live(AEGIS_OK);
    EXPECT(chmod(place_path, 0755) == 0);
    EXPECT(nftw(store_path, open_to_all, 16, FTW_PHYS) == 0);
    in_child(as_a_stranger);
    EXPECT(chmod(store_path, 0700) == 0 && chmod(under("store/session"), 0700) == 0 && chmod(under("store/session/tiles"), 0700) == 0);
    end_life();
}

TEST(links_in_the_place_of_files_are_refused_by_name) {
    static const char *const files[] = {"MANIFEST", "LOCK", "session/00000000.seg", "session/00000001.seg", "session"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        aegis_store *store = NULL;
        char path[700], aside[700];
        const aegis_options o = test_options(AEGIS_MODE_WRITE);
        if (!begin_life()) return;
        live(AEGIS_OK);
        snprintf(path, sizeof path, "%s/%s", store_path, files[i]);
        snprintf(aside, sizeof aside, "%s/elsewhere", place_path);
        EXPECT(rename(path, aside) == 0 && symlink(aside, path) == 0);
        EXPECT_CODE(aegis_open(store_path, &o, &store, NULL), AEGIS_E_NOTSTORE);
        EXPECT(message_has(files[i]));
        EXPECT(unlink(path) == 0 && rename(aside, path) == 0);
        end_life();
    }
}
