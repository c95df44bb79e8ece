/* vfs_place: a temporary directory for each test of vfs_posix.c, and what these tests share. Include after check.h. */
#ifndef AEGIS_TESTS_VFS_PLACE_H
#define AEGIS_TESTS_VFS_PLACE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vfs.h"

static char place_path[256];
static vfs *v;
static vfs_dir *root;

static inline int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static inline bool begin(void) {
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    snprintf(place_path, sizeof place_path, "%s/aegis-vfs-XXXXXX", base);    /* a name for mkdtemp to fill in */
    v = vfs_posix();
    return EXPECT(mkdtemp(place_path) != NULL) && EXPECT_OK(v->open_root(v, place_path, VFS_READ, &root));
}

static inline void end(void) {
    v->close_dir(v, root);
    nftw(place_path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *under(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", place_path, name);
    return path;
}

static inline vfs_file *file_named(const char *name, unsigned flags) {
    vfs_file *file = NULL;
    EXPECT_OK(v->open(v, root, name, flags, &file));
    return file;
}

static inline vfs_file *new_file(const char *name) { return file_named(name, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE); }

/* Runs in a forked child; what fails there fails here, and so does a child that waits for ever. */
#define CHILD_SECONDS 20

static inline void in_child(void (*run)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        atomic_store(&check_failures, 0);
        run();
        fflush(stdout);
        _exit(atomic_load(&check_failures) > 0);
    }
    int status = 0;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The messages name what they are about. */
typedef struct names {
    int count;
    int stop_at;
    char all[8][16];
} names;

static inline int collect(void *context, const char *name) {
    names *n = context;
    if (n->count == n->stop_at) return AEGIS_E_RANGE;
    snprintf(n->all[n->count++ % 8], 16, "%s", name);
    return AEGIS_OK;
}

/* How many descriptors lead into the place. */
static inline int descriptors_here(bool all_close_on_exec) {
    char link[64], target[300];
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n < 0) continue;
        target[n] = '\0';
        if (strncmp(target, place_path, strlen(place_path)) != 0) continue;
        count++;
        if (all_close_on_exec) EXPECT((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
    return count;
}

#endif
