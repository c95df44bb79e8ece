/* vfs_posix.c: what the engine may rely on, and the rules (2), (3) and (5) at the head of that file; the others are
 * in test_vfs_posix_fork.c.
 *
 * System calls that can't be made to misbehave are replaced here: a function of this program stands before that of the C
 * library, misbehaves where a test asks for it, and hands on to the real one.
 */
#include "check.h"

#include <dlfcn.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vfs_place.h"

/* ---- system calls that misbehave -------------------------------------------------------------------------------------- */

enum { NOTHING_FURTHER, INTERRUPT, SHORTEN, NO_PROGRESS, FAIL };

typedef struct trick {
    int what;
    int error;                  /* of FAIL */
    int times;                  /* calls that it still affects */
    int calls;                  /* made in all */
} trick;

static trick on_write, on_read, on_allocate, on_sync, on_dir_sync;

static int next_trick(trick *t) {
    t->calls++;
    if (t->times == 0) return NOTHING_FURTHER;
    t->times--;
    errno = t->what == INTERRUPT ? EINTR : t->error;
    return t->what;
}

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    ssize_t (*call)(int, const void *, size_t, off64_t) = (ssize_t(*)(int, const void *, size_t, off64_t))real("pwrite64");
    int what = next_trick(&on_write);
    if (what == INTERRUPT || what == FAIL) return -1;
    if (what == NO_PROGRESS) return 0;
    return call(fd, bytes, what == SHORTEN && length > 1 ? length / 2 : length, offset);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t offset) {
    ssize_t (*call)(int, void *, size_t, off64_t) = (ssize_t(*)(int, void *, size_t, off64_t))real("pread64");
    int what = next_trick(&on_read);
    if (what == INTERRUPT || what == FAIL) return -1;
    return call(fd, bytes, what == SHORTEN && length > 1 ? length / 2 : length, offset);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    int (*call)(int, int, off64_t, off64_t) = (int (*)(int, int, off64_t, off64_t))real("fallocate64");
    return next_trick(&on_allocate) == NOTHING_FURTHER ? call(fd, mode, offset, length) : -1;
}

int fdatasync(int fd) {
    int (*call)(int) = (int (*)(int))real("fdatasync");
    return next_trick(&on_sync) == NOTHING_FURTHER ? call(fd) : -1;
}

int fsync(int fd) {
    int (*call)(int) = (int (*)(int))real("fsync");
    return next_trick(&on_dir_sync) == NOTHING_FURTHER ? call(fd) : -1;
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

TEST(what_is_written_is_read) {
    uint8_t out[100], in[100];
    uint64_t seed = 1, size = 0;
    size_t got = 0;
    if (!begin()) return;
    vfs_file *file = new_file("a");
    fill_random(&seed, out, sizeof out);
    EXPECT_OK(v->write(v, file, 1000, out, sizeof out));
    EXPECT_OK(v->read(v, file, 1000, in, sizeof in, &got));
    EXPECT_EQ_U64(got, sizeof in);
    EXPECT_BYTES(in, out, sizeof in);
    EXPECT_OK(v->size(v, file, &size));
    EXPECT_EQ_U64(size, 1100);
    EXPECT_OK(v->sync(v, file));
    EXPECT_OK(v->truncate(v, file, 1010));
    EXPECT_OK(v->truncate(v, file, 1020));
    EXPECT_OK(v->read(v, file, 1000, in, sizeof in, &got));
    EXPECT_EQ_U64(got, 20);
    EXPECT_BYTES(in, out, 10);
    EXPECT(all_zero(in + 10, 10));
    v->close(v, file);
    end();
}

TEST(a_read_is_short_only_at_the_end) {
    uint8_t in[64];
    size_t got = 99;
    if (!begin()) return;
    vfs_file *file = new_file("a");
    EXPECT_OK(v->write(v, file, 0, "0123456789", 10));
    EXPECT_OK(v->read(v, file, 4, in, sizeof in, &got));
    EXPECT_EQ_U64(got, 6);
    EXPECT_BYTES(in, "456789", 6);
    EXPECT_OK(v->read(v, file, 10, in, sizeof in, &got));
    EXPECT_EQ_U64(got, 0);
    EXPECT_OK(v->read(v, file, (uint64_t)1 << 40, in, sizeof in, &got));
    EXPECT_EQ_U64(got, 0);
    EXPECT_CODE(v->read(v, file, UINT64_MAX - 3, in, sizeof in, &got), AEGIS_E_ARGUMENT);
    EXPECT_CODE(v->write(v, file, INT64_MAX, "ab", 2), AEGIS_E_ARGUMENT);
    v->close(v, file);
    end();
}

TEST(interrupted_and_short_transfers_go_on) {
    uint8_t out[5000], in[5000];
    uint64_t seed = 2;
    size_t got = 0;
    if (!begin()) return;
    vfs_file *file = new_file("a");
    fill_random(&seed, out, sizeof out);
    on_write = (trick){.what = SHORTEN, .times = 6};
    EXPECT_OK(v->write(v, file, 7, out, sizeof out));
    EXPECT_EQ_U64((uint64_t)on_write.calls, 7);
    on_read = (trick){.what = SHORTEN, .times = 6};
    EXPECT_OK(v->read(v, file, 7, in, sizeof in, &got));
    EXPECT_EQ_U64(got, sizeof in);
    EXPECT_BYTES(in, out, sizeof in);
    on_write = on_read = on_allocate = on_sync = (trick){.what = INTERRUPT, .times = 3};
    EXPECT_OK(v->write(v, file, 0, out, 100));
    EXPECT_OK(v->read(v, file, 0, in, 100, &got));
    EXPECT_BYTES(in, out, 100);
    EXPECT_OK(v->allocate(v, file, 0, 100));
    EXPECT_OK(v->sync(v, file));
    EXPECT_EQ_U64((uint64_t)on_sync.calls, 4);
    v->close(v, file);
    end();
}

TEST(no_progress_and_system_errors_are_reported) {
    uint8_t in[10];
    size_t got = 0;
    if (!begin()) return;
    vfs_file *file = new_file("a");
    on_write = (trick){.what = NO_PROGRESS, .times = 1};
    EXPECT_CODE(v->write(v, file, 0, "abc", 3), AEGIS_E_IO);
    EXPECT(message_has("a: nothing was written"));
    on_write = (trick){.what = FAIL, .times = 1, .error = ENOSPC};
    EXPECT_CODE(v->write(v, file, 0, "abc", 3), AEGIS_E_NOSPACE);
    on_read = (trick){.what = FAIL, .times = 1, .error = EIO};
    EXPECT_CODE(v->read(v, file, 0, in, 3, &got), AEGIS_E_IO);
    EXPECT(message_has("read a"));
    on_allocate = (trick){.what = FAIL, .times = 1, .error = EDQUOT};
    EXPECT_CODE(v->allocate(v, file, 0, 4096), AEGIS_E_NOSPACE);
    v->close(v, file);
    end();
}

TEST(rule_5_a_failed_sync_is_reported_once_and_not_retried) {
    if (!begin()) return;
    vfs_file *file = new_file("a");
    on_sync = (trick){.what = FAIL, .times = 1, .error = EIO};
    EXPECT_CODE(v->sync(v, file), AEGIS_E_IO);
    EXPECT_EQ_U64((uint64_t)on_sync.calls, 1);
    EXPECT(message_has("sync a"));
    v->close(v, file);
    end();
}

static void allocates(const char *name, trick t) {
    uint8_t in[300];
    uint64_t size = 0;
    size_t got = 0;
    vfs_file *file = new_file(name);
    EXPECT_OK(v->write(v, file, 0, "0123456789", 10));
    on_allocate = t;
    EXPECT_OK(v->allocate(v, file, 2, 4));
    EXPECT_OK(v->size(v, file, &size));
    EXPECT_EQ_U64(size, 10);
    EXPECT_OK(v->allocate(v, file, 5, 200000));
    EXPECT_OK(v->size(v, file, &size));
    EXPECT_EQ_U64(size, 200005);
    EXPECT_OK(v->allocate(v, file, 300000, 10));
    EXPECT_OK(v->size(v, file, &size));
    EXPECT_EQ_U64(size, 300010);
    EXPECT_OK(v->allocate(v, file, 400000, 0));
    EXPECT_OK(v->size(v, file, &size));
    EXPECT_EQ_U64(size, 300010);
    EXPECT_OK(v->read(v, file, 0, in, sizeof in, &got));
    EXPECT_EQ_U64(got, sizeof in);
    EXPECT_BYTES(in, "0123456789", 10);
    EXPECT(all_zero(in + 10, sizeof in - 10));
    v->close(v, file);
    on_allocate = (trick){0};
}

TEST(allocated_space_reads_as_zeros_and_keeps_what_was_there) {
    if (!begin()) return;
    allocates("a", (trick){0});
    /* A file system that has no fallocate: zeros are written. */
    on_write.calls = 0;
    allocates("b", (trick){.what = FAIL, .times = INT_MAX, .error = EOPNOTSUPP});
    EXPECT_EQ_U64((uint64_t)on_write.calls, 1 + 4 + 1);
    end();
}

TEST(a_file_open_for_reading_cannot_change) {
    if (!begin()) return;
    v->close(v, new_file("a"));
    vfs_file *file = file_named("a", VFS_READ);
    EXPECT_CODE(v->write(v, file, 0, "a", 1), AEGIS_E_READONLY);
    EXPECT_CODE(v->truncate(v, file, 1), AEGIS_E_READONLY);
    EXPECT_CODE(v->allocate(v, file, 0, 1), AEGIS_E_READONLY);
    EXPECT_CODE(v->lock(v, file, 0, VFS_EXCLUSIVE_LOCK), AEGIS_E_READONLY);
    v->close(v, file);
    end();
}

TEST(a_protected_file_gives_nobody_a_right_to_write_and_no_right_that_it_did_not_give) {
    struct stat found;
    if (!begin()) return;
    vfs_file *file = new_file("a");
    EXPECT(stat(under("a"), &found) == 0 && (found.st_mode & 0777) == 0600);
    v->protect(v, file);
    EXPECT(stat(under("a"), &found) == 0 && (found.st_mode & 0777) == 0400);
    EXPECT_OK(v->write(v, file, 0, "x", 1));    /* who has it open goes on */
    v->close(v, file);
    EXPECT(chmod(under("a"), 0640) == 0);
    file = file_named("a", VFS_READ);
    v->protect(v, file);
    EXPECT(stat(under("a"), &found) == 0 && (found.st_mode & 0777) == 0440);
    v->close(v, file);
    end();
}

/* ---- names ------------------------------------------------------------------------------------------------------------ */

TEST(missing_and_existing_names_are_told) {
    vfs_file *file = NULL;
    vfs_dir *dir = NULL;
    struct stat info;
    if (!begin()) return;
    EXPECT_CODE(v->open(v, root, "a", VFS_READ, &file), AEGIS_E_NOTFOUND);
    EXPECT_CODE(v->open(v, root, "a", VFS_WRITE, &file), AEGIS_E_NOTFOUND);
    v->close(v, new_file("a"));
    EXPECT_CODE(v->open(v, root, "a", VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &file), AEGIS_E_EXISTS);
    v->close(v, file_named("a", VFS_WRITE | VFS_CREATE));
    EXPECT(stat(under("a"), &info) == 0 && (info.st_mode & 07777) == 0600);
    EXPECT_CODE(v->open_dir(v, root, "d", VFS_READ, &dir), AEGIS_E_NOTFOUND);
    EXPECT_OK(v->open_dir(v, root, "d", VFS_CREATE, &dir));
    EXPECT(stat(under("d"), &info) == 0 && (info.st_mode & 07777) == 0700);
    EXPECT_CODE(v->open(v, dir, "below", VFS_READ, &file), AEGIS_E_NOTFOUND);
    EXPECT(message_has("open d/below"));
    EXPECT_OK(v->sync_dir(v, dir));
    v->close_dir(v, dir);
    EXPECT_OK(v->open_dir(v, root, "d", VFS_CREATE, &dir));
    v->close_dir(v, dir);
    EXPECT_CODE(v->open_dir(v, root, "d", VFS_CREATE | VFS_EXCLUSIVE, &dir), AEGIS_E_EXISTS);
    EXPECT_CODE(v->open_dir(v, root, "a", VFS_READ, &dir), AEGIS_E_NOTSTORE);
    EXPECT_OK(v->sync_dir(v, root));
    EXPECT_OK(v->sync_parent(v, root));
    end();
}

TEST(directories_are_synced_by_the_system) {
    if (!begin()) return;
    on_dir_sync = (trick){0};
    EXPECT_OK(v->sync_dir(v, root));
    EXPECT_EQ_U64((uint64_t)on_dir_sync.calls, 1);
    EXPECT_OK(v->sync_parent(v, root));
    EXPECT_EQ_U64((uint64_t)on_dir_sync.calls, 2);
    /* A file system that can't is not excused. */
    on_dir_sync = (trick){.what = FAIL, .times = 2, .error = EINVAL};
    EXPECT_CODE(v->sync_dir(v, root), AEGIS_E_IO);
    EXPECT_CODE(v->sync_parent(v, root), AEGIS_E_IO);
    end();
}

TEST(the_root_is_made_only_where_asked) {
    char path[300];
    vfs_dir *dir = NULL;
    if (!begin()) return;
    snprintf(path, sizeof path, "%s/store", place_path);
    EXPECT_CODE(v->open_root(v, path, VFS_READ, &dir), AEGIS_E_NOTFOUND);
    EXPECT_OK(v->open_root(v, path, VFS_CREATE | VFS_EXCLUSIVE, &dir));
    EXPECT_OK(v->sync_parent(v, dir));
    v->close_dir(v, dir);
    EXPECT_CODE(v->open_root(v, path, VFS_CREATE | VFS_EXCLUSIVE, &dir), AEGIS_E_EXISTS);
    EXPECT(message_has(path));
    EXPECT_OK(v->open_root(v, path, VFS_CREATE, &dir));
    v->close_dir(v, dir);
    end();
}

TEST(a_rename_replaces) {
    uint8_t in[4];
    size_t got = 0;
    vfs_file *file = NULL;
    if (!begin()) return;
    vfs_file *old = new_file("a"), *new = new_file("b");
    EXPECT_OK(v->write(v, old, 0, "old", 3));
    EXPECT_OK(v->write(v, new, 0, "new", 3));
    EXPECT_OK(v->rename(v, root, "b", "a"));
    EXPECT_CODE(v->open(v, root, "b", VFS_READ, &file), AEGIS_E_NOTFOUND);
    file = file_named("a", VFS_READ);
    EXPECT_OK(v->read(v, file, 0, in, 3, &got));
    EXPECT_BYTES(in, "new", 3);
    EXPECT_OK(v->read(v, old, 0, in, 3, &got));
    EXPECT_BYTES(in, "old", 3);
    EXPECT_OK(v->unlink(v, root, "a"));
    EXPECT_CODE(v->unlink(v, root, "a"), AEGIS_E_NOTFOUND);
    EXPECT_CODE(v->rename(v, root, "a", "b"), AEGIS_E_NOTFOUND);
    EXPECT(message_has("rename a"));
    v->close(v, old);
    v->close(v, new);
    v->close(v, file);
    end();
}

TEST(a_directory_lists_its_names_each_time_and_stops_when_told) {
    names found = {.stop_at = -1}, again = {.stop_at = -1}, some = {.stop_at = 1};
    if (!begin()) return;
    v->close(v, new_file("one"));
    v->close(v, new_file("two"));
    v->close(v, new_file("three"));
    EXPECT_OK(v->list(v, root, collect, &found));
    EXPECT_OK(v->list(v, root, collect, &again));
    EXPECT_EQ_U64((uint64_t)found.count, 3);
    EXPECT_EQ_U64((uint64_t)again.count, 3);
    for (int i = 0; i < 3; i++)
        EXPECT(strcmp(found.all[i], "one") == 0 || strcmp(found.all[i], "two") == 0 || strcmp(found.all[i], "three") == 0);
    EXPECT_CODE(v->list(v, root, collect, &some), AEGIS_E_RANGE);
    end();
}

TEST(rule_2_no_link_is_followed_and_no_path_is_walked) {
    vfs_file *file = NULL;
    vfs_dir *dir = NULL, *through = NULL;
    char path[300];
    if (!begin()) return;
    v->close(v, new_file("target"));
    EXPECT_OK(v->open_dir(v, root, "d", VFS_CREATE, &dir));
    EXPECT(symlink("target", under("link")) == 0 && symlink("d", under("dlink")) == 0 && symlink("gone", under("dangling")) == 0);
    EXPECT_CODE(v->open(v, root, "link", VFS_READ, &file), AEGIS_E_NOTSTORE);
    EXPECT_CODE(v->open(v, root, "link", VFS_WRITE | VFS_CREATE, &file), AEGIS_E_NOTSTORE);
    EXPECT_CODE(v->open(v, root, "dangling", VFS_WRITE | VFS_CREATE, &file), AEGIS_E_NOTSTORE);
    EXPECT(access(under("gone"), F_OK) != 0);
    EXPECT_CODE(v->open_dir(v, root, "dlink", VFS_READ, &through), AEGIS_E_NOTSTORE);
    EXPECT_CODE(v->open_dir(v, root, "dlink", VFS_CREATE, &through), AEGIS_E_NOTSTORE);
    EXPECT_CODE(v->open(v, root, "d/../target", VFS_READ, &file), AEGIS_E_ARGUMENT);
    EXPECT_CODE(v->open(v, dir, "..", VFS_READ, &file), AEGIS_E_ARGUMENT);
    EXPECT_CODE(v->open(v, dir, "", VFS_READ, &file), AEGIS_E_ARGUMENT);
    EXPECT_CODE(v->open_dir(v, dir, "..", VFS_READ, &through), AEGIS_E_ARGUMENT);
    EXPECT_CODE(v->unlink(v, dir, "../target"), AEGIS_E_ARGUMENT);
    EXPECT_CODE(v->rename(v, root, "target", "d/target"), AEGIS_E_ARGUMENT);
    /* The root itself may be reached through a link. */
    snprintf(path, sizeof path, "%s/dlink", place_path);
    EXPECT_OK(v->open_root(v, path, VFS_READ, &through));
    v->close_dir(v, through);
    v->close_dir(v, dir);
    end();
}

TEST(rule_3_only_regular_files_are_opened_and_without_waiting) {
    vfs_file *file = NULL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!begin()) return;
    EXPECT(mkfifo(under("fifo"), 0600) == 0 && mkdir(under("d"), 0700) == 0);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/sock", place_path);
    EXPECT(s >= 0 && bind(s, (const struct sockaddr *)&address, sizeof address) == 0);
    alarm(20);
    EXPECT_CODE(v->open(v, root, "fifo", VFS_READ, &file), AEGIS_E_NOTSTORE);
    EXPECT(message_has("fifo is not a regular file"));
    EXPECT_CODE(v->open(v, root, "fifo", VFS_WRITE, &file), AEGIS_E_NOTSTORE);
    EXPECT_CODE(v->open(v, root, "d", VFS_READ, &file), AEGIS_E_NOTSTORE);
    EXPECT_CODE(v->open(v, root, "d", VFS_WRITE, &file), AEGIS_E_NOTSTORE);
    EXPECT_CODE(v->open(v, root, "sock", VFS_WRITE, &file), AEGIS_E_NOTSTORE);
    alarm(0);
    close(s);
    end();
}

/* ---- the rest --------------------------------------------------------------------------------------------------------- */

TEST(a_place_says_what_it_is) {
    vfs_place_info info;
    vfs_dir *proc = NULL;
    if (!begin()) return;
    EXPECT_OK(v->place(v, root, &info));
    printf("    %s: %s, %" PRIu64 " MiB free%s%s\n", place_path, info.type, info.free_bytes >> 20, info.network ? ", network" : "",
           info.read_only ? ", read-only" : "");
    EXPECT(!info.read_only);
    EXPECT(info.free_bytes > 0);
    EXPECT(info.type[0] != '\0');
    /* One that isn't in the table is named by its number. */
    EXPECT_OK(v->open_root(v, "/proc", VFS_READ, &proc));
    EXPECT_OK(v->place(v, proc, &info));
    EXPECT_STRING(info.type, "0x00009fa0");
    EXPECT(!info.network);
    v->close_dir(v, proc);
    end();
}

TEST(clock_random_and_identity) {
    uint8_t a[64] = {0}, b[64] = {0};
    char text[300], host[256] = "", expected[300];
    v = vfs_posix();
    uint64_t before = v->clock_ms(v);
    usleep(20000);
    uint64_t waited = v->clock_ms(v) - before;
    EXPECT(waited >= 15 && waited < 10000);
    EXPECT_OK(v->random(v, a, sizeof a));
    EXPECT_OK(v->random(v, b, sizeof b));
    EXPECT(memcmp(a, b, sizeof a) != 0);
    EXPECT(!all_zero(a + 56, 8));
    v->identify(v, text, sizeof text);
    EXPECT(gethostname(host, sizeof host - 1) == 0);
    snprintf(expected, sizeof expected, "pid %ld on %s", (long)getpid(), host);
    EXPECT_STRING(text, expected);
    v->identify(v, text, 8);
    EXPECT_EQ_U64(strlen(text), 7);
}
