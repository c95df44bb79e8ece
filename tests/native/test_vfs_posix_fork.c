/* vfs_posix.c among processes: descriptors, locks, forks, rights. The rules (1) and (4) at the head of that file. */
#include "check.h"

#include <pthread.h>
#include <sys/resource.h>

#include "vfs_place.h"

/* ---- descriptors ----------------------------------------------------------------------------------------------------- */

static int out_of_the_way;      /* where the child keeps its standard output meanwhile */

static void open_without_standard_streams(void) {
    vfs_dir *dir = NULL;
    vfs_file *file = NULL;
    out_of_the_way = fcntl(1, F_DUPFD_CLOEXEC, 10);
    close(0), close(1), close(2);
    int code = v->open_root(v, place_path, VFS_READ, &dir);
    if (code == AEGIS_OK) code = v->open(v, dir, "a", VFS_WRITE | VFS_CREATE, &file);
    bool all_free = fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 && fcntl(2, F_GETFD) < 0;
    dup2(out_of_the_way, 1);
    EXPECT_OK(code);
    EXPECT(all_free);
}

TEST(rule_4_no_descriptor_takes_the_place_of_a_standard_stream) {
    if (!begin()) return;
    in_child(open_without_standard_streams);
    end();
}

TEST(every_descriptor_is_closed_on_exec_and_by_close) {
    vfs_dir *dir = NULL;
    if (!begin()) return;
    EXPECT_OK(v->open_dir(v, root, "d", VFS_CREATE, &dir));
    vfs_file *file = new_file("a");
    EXPECT_OK(v->sync_parent(v, root));
    EXPECT_OK(v->list(v, root, collect, &(names){.stop_at = -1}));
    EXPECT_EQ_U64((uint64_t)descriptors_here(true), 3);
    v->close(v, file);
    v->close_dir(v, dir);
    EXPECT_EQ_U64((uint64_t)descriptors_here(true), 1);
    end();
    EXPECT_EQ_U64((uint64_t)descriptors_here(true), 0);
}

/* ---- locks ------------------------------------------------------------------------------------------------------------ */

#if !defined(AEGIS_FLOCK)
TEST(two_handles_of_one_process_exclude_each_other) {
    bool held = true;
    if (!begin()) return;
    vfs_file *a = new_file("LOCK"), *b = file_named("LOCK", VFS_WRITE), *reader = file_named("LOCK", VFS_READ);
    EXPECT_OK(v->lock_held(v, reader, 0, &held));
    EXPECT(!held);
    EXPECT_OK(v->lock(v, a, 0, VFS_EXCLUSIVE_LOCK));
    EXPECT_OK(v->lock(v, a, 0, VFS_EXCLUSIVE_LOCK));
    EXPECT_CODE(v->lock(v, b, 0, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    EXPECT_CODE(v->lock(v, b, 0, VFS_SHARED), AEGIS_E_LOCKED);
    EXPECT_OK(v->lock_held(v, reader, 0, &held));
    EXPECT(held);
    EXPECT_OK(v->lock_held(v, a, 0, &held));
    EXPECT(!held);
    /* Another byte is another lock, and shared ones get along. */
    EXPECT_OK(v->lock(v, b, 1, VFS_SHARED));
    EXPECT_OK(v->lock(v, reader, 1, VFS_SHARED));
    EXPECT_CODE(v->lock(v, a, 1, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    EXPECT_OK(v->lock_held(v, a, 1, &held));
    EXPECT(!held);
    EXPECT_OK(v->lock(v, a, 0, VFS_UNLOCK));
    /* Asking took nothing. */
    EXPECT_OK(v->lock(v, b, 0, VFS_EXCLUSIVE_LOCK));
    v->close(v, b);
    EXPECT_OK(v->lock_held(v, reader, 0, &held));
    EXPECT(!held);
    v->close(v, reader);
    EXPECT_OK(v->lock(v, a, 1, VFS_EXCLUSIVE_LOCK));
    v->close(v, a);
    end();
}
#endif

TEST(a_second_writer_is_refused_by_either_kind_of_lock) {
    bool held = true;
    if (!begin()) return;
    vfs_file *a = new_file("LOCK"), *b = file_named("LOCK", VFS_WRITE);
    EXPECT_OK(v->lock(v, a, 0, VFS_EXCLUSIVE_LOCK));
    EXPECT_OK(v->lock(v, a, 1, VFS_SHARED));
    EXPECT_OK(v->lock(v, b, 1, VFS_SHARED));
    EXPECT_CODE(v->lock(v, b, 0, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    EXPECT_OK(v->lock_held(v, b, 0, &held));
    EXPECT(held);
    EXPECT_OK(v->lock(v, a, 1, VFS_UNLOCK));
    EXPECT_CODE(v->lock(v, b, 0, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    EXPECT_OK(v->lock(v, a, 0, VFS_UNLOCK));
    EXPECT_OK(v->lock_held(v, b, 0, &held));
    EXPECT(!held);
    EXPECT_OK(v->lock(v, b, 0, VFS_EXCLUSIVE_LOCK));
    v->close(v, a);
    v->close(v, b);
    end();
}

/* ---- fork ------------------------------------------------------------------------------------------------------------- */

static vfs_file *inherited;
static uint64_t count_before;

static void use_what_was_inherited(void) {
    uint8_t byte = 0;
    size_t got = 0;
    uint64_t size = 0;
    bool held = false;
    vfs_place_info info;
    vfs_dir *dir = NULL;
    vfs_file *file = NULL;
    EXPECT(vfs_fork_count() != count_before);
    EXPECT_EQ_U64((uint64_t)descriptors_here(false), 0);
    EXPECT_CODE(v->read(v, inherited, 0, &byte, 1, &got), AEGIS_E_FORKED);
    EXPECT(message_has("a was opened before fork()"));
    EXPECT_CODE(v->write(v, inherited, 0, &byte, 1), AEGIS_E_FORKED);
    EXPECT_CODE(v->allocate(v, inherited, 0, 1), AEGIS_E_FORKED);
    EXPECT_CODE(v->sync(v, inherited), AEGIS_E_FORKED);
    EXPECT_CODE(v->truncate(v, inherited, 0), AEGIS_E_FORKED);
    EXPECT_CODE(v->size(v, inherited, &size), AEGIS_E_FORKED);
    EXPECT_CODE(v->lock(v, inherited, 0, VFS_UNLOCK), AEGIS_E_FORKED);
    EXPECT_CODE(v->lock_held(v, inherited, 0, &held), AEGIS_E_FORKED);
    EXPECT_CODE(v->open(v, root, "a", VFS_READ, &file), AEGIS_E_FORKED);
    EXPECT_CODE(v->open_dir(v, root, "d", VFS_CREATE, &dir), AEGIS_E_FORKED);
    EXPECT_CODE(v->sync_dir(v, root), AEGIS_E_FORKED);
    EXPECT_CODE(v->sync_parent(v, root), AEGIS_E_FORKED);
    EXPECT_CODE(v->list(v, root, collect, &(names){.stop_at = -1}), AEGIS_E_FORKED);
    EXPECT_CODE(v->rename(v, root, "a", "b"), AEGIS_E_FORKED);
    EXPECT_CODE(v->unlink(v, root, "a"), AEGIS_E_FORKED);
    EXPECT_CODE(v->place(v, root, &info), AEGIS_E_FORKED);
    /* Closing frees, and closes nothing that was opened since under an old number. */
    EXPECT_OK(v->open_root(v, place_path, VFS_READ, &dir));
    EXPECT_OK(v->open(v, dir, "a", VFS_WRITE, &file));
    v->close(v, inherited);
    v->close_dir(v, root);
    EXPECT_EQ_U64((uint64_t)descriptors_here(true), 2);
    EXPECT_CODE(v->lock(v, file, 0, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    EXPECT_OK(v->lock_held(v, file, 0, &held));
    EXPECT(held);
    v->close(v, file);
    v->close_dir(v, dir);
}

TEST(rule_1_fork_closes_everything_in_the_child_and_leaves_the_lock_with_the_parent) {
    if (!begin()) return;
    inherited = new_file("a");
    EXPECT_OK(v->lock(v, inherited, 0, VFS_EXCLUSIVE_LOCK));
    count_before = vfs_fork_count();
    in_child(use_what_was_inherited);
    EXPECT_EQ_U64(vfs_fork_count(), count_before);
    EXPECT_OK(v->write(v, inherited, 0, "x", 1));
    /* Still locked after the child has gone. */
    vfs_file *other = file_named("a", VFS_WRITE);
    EXPECT_CODE(v->lock(v, other, 0, VFS_EXCLUSIVE_LOCK), AEGIS_E_LOCKED);
    v->close(v, other);
    v->close(v, inherited);
    end();
}

static int fork_inside(void *context, const char *name) {
    (void)name;
    *(pid_t *)context = fork();
    return AEGIS_OK;
}

TEST(a_fork_inside_a_listing_ends_it_in_the_child) {
    pid_t child = -1;
    int status = 0;
    if (!begin()) return;
    v->close(v, new_file("a"));
    fflush(stdout);
    int code = v->list(v, root, fork_inside, &child);
    if (child == 0) _exit(code == AEGIS_E_FORKED && descriptors_here(false) == 0 ? 0 : 1);
    EXPECT_OK(code);
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    end();
}

static atomic_bool stop;

static void *open_and_close(void *number) {
    char name[32];
    vfs_file *file = NULL;
    snprintf(name, sizeof name, "t%d", *(int *)number);
    while (!atomic_load(&stop)) {
        EXPECT_OK(v->open(v, root, name, VFS_WRITE | VFS_CREATE, &file));
        v->close(v, file);
        EXPECT_OK(v->sync_parent(v, root));
        EXPECT_OK(v->list(v, root, collect, &(names){.stop_at = -1}));
    }
    return NULL;
}

TEST(rule_1_fork_finds_every_descriptor_while_threads_open_and_close) {
    pthread_t threads[3];
    int numbers[3] = {0, 1, 2}, leaked = 0, status;
    if (!begin()) return;
    atomic_store(&stop, false);
    for (int i = 0; i < 3; i++) EXPECT(pthread_create(&threads[i], NULL, open_and_close, &numbers[i]) == 0);
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child == 0) _exit(descriptors_here(false) != 0);
        if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) leaked++;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    EXPECT_EQ_U64((uint64_t)leaked, 0);
    end();
}

/* ---- rights and limits ----------------------------------------------------------------------------------------------- */

/* Root may write everywhere; nobody may not. Done in a child, from where there is no way back. */
static void without_rights(void) {
    vfs_dir *dir = NULL, *below = NULL;
    vfs_file *file = NULL;
    uint8_t in[4];
    size_t got = 0;
    if (geteuid() == 0 && setuid(65534) != 0) {
        printf("    skipped: root's rights can't be dropped here\n");
        return;
    }
    EXPECT_OK(v->open_root(v, place_path, VFS_READ, &dir));
    EXPECT_OK(v->open(v, dir, "a", VFS_READ, &file));
    EXPECT_OK(v->read(v, file, 0, in, 3, &got));
    EXPECT_BYTES(in, "abc", 3);
    v->close(v, file);
    EXPECT_CODE(v->open(v, dir, "a", VFS_WRITE, &file), AEGIS_E_READONLY);
    EXPECT_CODE(v->open(v, dir, "new", VFS_WRITE | VFS_CREATE, &file), AEGIS_E_READONLY);
    EXPECT_CODE(v->open_dir(v, dir, "new", VFS_CREATE, &below), AEGIS_E_READONLY);
    EXPECT_CODE(v->unlink(v, dir, "a"), AEGIS_E_READONLY);
    v->close_dir(v, dir);
    /* What lies under a directory that may only be walked through can be synced all the same. */
    EXPECT_OK(v->open_root(v, under("walk/in"), VFS_READ, &dir));
    EXPECT(open(under("walk"), O_RDONLY | O_DIRECTORY) < 0);
    EXPECT_OK(v->sync_parent(v, dir));
    v->close_dir(v, dir);
}

TEST(a_place_without_rights_opens_for_reading) {
    if (!begin()) return;
    vfs_file *file = new_file("a");
    EXPECT_OK(v->write(v, file, 0, "abc", 3));
    v->close(v, file);
    EXPECT(mkdir(under("walk"), 0700) == 0 && mkdir(under("walk/in"), 0700) == 0);
    EXPECT(chmod(under("walk/in"), 0755) == 0 && chmod(under("walk"), 0311) == 0);
    EXPECT(chmod(under("a"), 0444) == 0 && chmod(place_path, 0555) == 0);
    in_child(without_rights);
    EXPECT(chmod(place_path, 0700) == 0 && chmod(under("walk"), 0700) == 0);
    end();
}

static void without_descriptors(void) {
    vfs_file *file = NULL;
    vfs_dir *dir = NULL;
    int lowest = dup(1);
    close(lowest);
    EXPECT_OK(v->open_root(v, place_path, VFS_READ, &dir));
    struct rlimit limit = {(rlim_t)lowest + 1, (rlim_t)lowest + 1};
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    EXPECT_CODE(v->open(v, dir, "a", VFS_WRITE | VFS_CREATE, &file), AEGIS_E_DESCRIPTORS);
    EXPECT_CODE(v->list(v, dir, collect, &(names){.stop_at = -1}), AEGIS_E_DESCRIPTORS);
    EXPECT_CODE(v->sync_parent(v, dir), AEGIS_E_DESCRIPTORS);
    v->close_dir(v, dir);
}

TEST(running_out_of_descriptors_is_told_apart) {
    if (!begin()) return;
    in_child(without_descriptors);
    end();
}
