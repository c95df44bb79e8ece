/* vfs_posix: the operating system as the engine sees it.
 *
 * What holds here, and what would break without it:
 *
 *   (1) Every descriptor is closed in a forked child before fork() returns there: vfs_posix_fork.h says how.
 *   (2) Below the root no path is ever walked: names are single components, opened relative to a directory's descriptor and
 *       without following a link, so that a stranger's directory can't lead a write elsewhere.
 *   (3) Only regular files are opened, and without waiting: a FIFO named like a file of ours would block for ever.
 *   (4) No descriptor below 3: in a process that closed its standard output, the next printf would go into the store.
 *   (5) Nothing is retried but EINTR. After a failed sync the kernel may call lost pages clean: what to do is the log's to say.
 *
 * Each has a test of that number in tests/native/test_vfs_posix.c or test_vfs_posix_fork.c.
 */
#define _FILE_OFFSET_BITS 64
#define _DARWIN_C_SOURCE 1
#include "vfs_posix_bell.h"
#include "vfs_posix_fork.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/random.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif

/* A lock of an open file, not of a process: two handles of one process exclude each other, and closing another descriptor of
 * the same file releases nothing. AEGIS_FLOCK builds the fallback on Linux, to have it compiled somewhere. */
#if defined(F_OFD_SETLK) && !defined(AEGIS_FLOCK)
#define HAVE_OFD_LOCKS 1
#else
#define HAVE_OFD_LOCKS 0
#include <sys/file.h>
#endif

#define NO_LOCK UINT64_MAX
#define LABEL_MAX 512
#define ZERO_CHUNK 65536

struct vfs_dir {
    struct descriptor at;
    bool is_root;
    char label[];                           /* for messages: the root's path, below it the path relative to the root */
};

struct vfs_file {
    struct descriptor at;
    bool writable;
    uint64_t flocked;                       /* the byte that the whole-file lock stands for; only without OFD locks */
    char label[];
};

/* ---- names and arguments ---------------------------------------------------------------------------------------------- */

#define ALIVE(handle)                                                                                       \
    do {                                                                                                    \
        if ((handle)->at.fd < 0) return fail(AEGIS_E_FORKED, "%s was opened before fork()", (handle)->label); \
    } while (0)

static int check_name(const char *name) {
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/') != NULL)
        return fail(AEGIS_E_ARGUMENT, "\"%s\" is not the name of a file", name);
    return AEGIS_OK;
}

static int check_range(const char *label, uint64_t offset, uint64_t length) {
    uint64_t end;
    if (!add_u64(offset, length, &end) || end > INT64_MAX)
        return fail(AEGIS_E_ARGUMENT, "%s: no file reaches to byte %llu + %llu", label, (unsigned long long)offset,
                    (unsigned long long)length);
    return AEGIS_OK;
}

/* Cut where it does not fit: it is only read by people. */
static void make_label(const vfs_dir *dir, const char *name, char label[LABEL_MAX]) {
    if (dir->is_root) snprintf(label, LABEL_MAX, "%.255s", name);
    else snprintf(label, LABEL_MAX, "%.255s/%.255s", dir->label, name);
}

static int fail_named(int error, const char *operation, const vfs_dir *dir, const char *name) {
    char label[LABEL_MAX];
    make_label(dir, name, label);
    return fail_system(error, operation, label);
}

static int check_writable(const vfs_file *file) {
    if (!file->writable) return fail(AEGIS_E_READONLY, "%s is open for reading only", file->label);
    return AEGIS_OK;
}

/* ---- directories ------------------------------------------------------------------------------------------------------ */

static int open_directory(const char *label, bool is_root, int at, const char *name, unsigned flags, vfs_dir **out) {
    size_t length = strlen(label) + 1;
    vfs_dir *dir = malloc(sizeof *dir + length);
    if (dir == NULL) return fail(AEGIS_E_NOMEM, "no memory for directory %s", label);
    memcpy(dir->label, label, length);
    dir->is_root = is_root;
    int error = 0;
    if ((flags & VFS_CREATE) != 0 && mkdirat(at, name, 0700) != 0) {
        error = errno;
        if (error == EEXIST && (flags & VFS_EXCLUSIVE) == 0) error = 0;
    }
    if (error != 0) {
        free(dir);
        return fail_system(error, "make directory", label);
    }
    error = enrol(&dir->at, at, name, O_RDONLY | O_DIRECTORY | (is_root ? 0 : O_NOFOLLOW));
    if (error != 0) {
        free(dir);
        return fail_system(error, "open directory", label);
    }
    *out = dir;
    return AEGIS_OK;
}

static int posix_open_root(vfs *self, const char *path, unsigned flags, vfs_dir **out) {
    (void)self;
    int error = prepare_for_fork();
    if (error != 0) return fail_system(error, "prepare for fork() before opening", path);
    return open_directory(path, true, AT_FDCWD, path, flags, out);
}

static int posix_open_dir(vfs *self, vfs_dir *parent, const char *name, unsigned flags, vfs_dir **out) {
    (void)self;
    char label[LABEL_MAX];
    ALIVE(parent);
    TRY(check_name(name));
    make_label(parent, name, label);
    return open_directory(label, false, parent->at.fd, name, flags, out);
}

static void posix_close_dir(vfs *self, vfs_dir *dir) {
    (void)self;
    if (dir == NULL) return;
    dismiss(&dir->at, NULL);
    free(dir);
}

/* What a device may still hold in a cache of its own must be out too. */
static int flush(int fd, bool data_only) {
    int result;
    do {
#if defined(F_FULLFSYNC)
        /* Only this reaches the medium on macOS; file systems that don't know it get what they know. */
        result = fcntl(fd, F_FULLFSYNC);
        if (result != 0 && (errno == ENOTSUP || errno == EINVAL || errno == ENOTTY)) result = fsync(fd);
        (void)data_only;
#else
        result = data_only ? fdatasync(fd) : fsync(fd);
#endif
    } while (result != 0 && errno == EINTR);
    return result;
}

/* No mercy for a file system that can't sync directories: a name that may vanish can't be acknowledged. */
static int posix_sync_dir(vfs *self, vfs_dir *dir) {
    (void)self;
    ALIVE(dir);
    if (flush(dir->at.fd, false) != 0) return fail_system(errno, "sync directory", dir->label);
    return AEGIS_OK;
}

static int posix_sync_parent(vfs *self, vfs_dir *root) {
    (void)self;
    ALIVE(root);
    struct descriptor parent;
    int error = enrol(&parent, root->at.fd, "..", O_RDONLY | O_DIRECTORY);
    if (error == 0 && flush(parent.fd, false) != 0) error = errno;
    dismiss(&parent, NULL);
#if defined(__linux__)
    /* A parent that may be entered but not read can't be opened for syncing; its whole file system can be synced from here. */
    if (error == EACCES) error = syncfs(root->at.fd) == 0 ? 0 : errno;
#endif
    if (error != 0) return fail_system(error, "sync the directory above", root->label);
    return AEGIS_OK;
}

static int posix_list(vfs *self, vfs_dir *dir, vfs_name_fn fn, void *context) {
    (void)self;
    ALIVE(dir);
    /* A descriptor of its own: the position in a directory belongs to the open file. */
    struct descriptor walk;
    int error = enrol(&walk, dir->at.fd, ".", O_RDONLY | O_DIRECTORY);
    if (error != 0) return fail_system(error, "list directory", dir->label);
    DIR *stream = fdopendir(walk.fd);
    if (stream == NULL) {
        error = errno;
        dismiss(&walk, NULL);
        return fail_system(error, "list directory", dir->label);
    }
    int code = AEGIS_OK;
    while (code == AEGIS_OK) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            if (errno != 0) code = fail_system(errno, "list directory", dir->label);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        code = fn(context, entry->d_name);
        /* `fn` forked and this is the child: the descriptor is gone, and its number may be another's. The stream leaks. */
        if (walk.fd < 0) return fail(AEGIS_E_FORKED, "%s was opened before fork()", dir->label);
    }
    dismiss(&walk, stream);
    return code;
}

static int posix_rename(vfs *self, vfs_dir *dir, const char *from, const char *to) {
    (void)self;
    ALIVE(dir);
    TRY(check_name(from));
    TRY(check_name(to));
    if (renameat(dir->at.fd, from, dir->at.fd, to) != 0) return fail_named(errno, "rename", dir, from);
    return AEGIS_OK;
}

static int posix_unlink(vfs *self, vfs_dir *dir, const char *name) {
    (void)self;
    ALIVE(dir);
    TRY(check_name(name));
    if (unlinkat(dir->at.fd, name, 0) != 0) return fail_named(errno, "remove", dir, name);
    return AEGIS_OK;
}

#if defined(__linux__)
/* What fstatfs calls a file system. FUSE can be anything, and what it is can't be told from here: it may be sshfs or an object
 * store, so it counts as the network, and who knows better says so by name. */
static const struct file_system {
    uint32_t magic;
    bool network;
    const char *name;
} file_systems[] = {
    {0x00006969, true, "nfs"},     {0xff534d42, true, "cifs"},    {0xfe534d42, true, "smb2"},   {0x0000517b, true, "smb"},
    {0x0000564c, true, "ncp"},     {0x01021997, true, "9p"},      {0x00c36400, true, "ceph"},   {0x65735546, true, "fuse"},
    {0x0bd00bd0, true, "lustre"},  {0x01161970, true, "gfs2"},    {0x7461636f, true, "ocfs2"},  {0x5346414f, true, "afs"},
    {0x6b414653, true, "afs"},     {0x73757245, true, "coda"},    {0x47504653, true, "gpfs"},   {0x19830326, true, "beegfs"},
    {0x786f4256, true, "vboxsf"},  {0x0000ef53, false, "ext4"},   {0x58465342, false, "xfs"},   {0x9123683e, false, "btrfs"},
    {0x2fc12fc1, false, "zfs"},    {0xf2f52010, false, "f2fs"},   {0xca451a4e, false, "bcachefs"}, {0x01021994, false, "tmpfs"},
    {0x858458f6, false, "ramfs"},  {0x794c7630, false, "overlay"}, {0x73717368, false, "squashfs"},
};

static int posix_place(vfs *self, vfs_dir *dir, vfs_place_info *out) {
    (void)self;
    ALIVE(dir);
    struct statfs found;
    int result;
    do result = fstatfs(dir->at.fd, &found);
    while (result != 0 && errno == EINTR);
    if (result != 0) return fail_system(errno, "ask for the file system of", dir->label);
    memset(out, 0, sizeof *out);
    out->read_only = ((unsigned long)found.f_flags & ST_RDONLY) != 0;
    out->free_bytes = (uint64_t)found.f_bavail * (uint64_t)(found.f_frsize > 0 ? found.f_frsize : found.f_bsize);
    uint32_t magic = (uint32_t)found.f_type;
    snprintf(out->type, sizeof out->type, "0x%08x", (unsigned)magic);
    for (size_t i = 0; i < sizeof file_systems / sizeof file_systems[0]; i++) {
        if (file_systems[i].magic != magic) continue;
        out->network = file_systems[i].network;
        snprintf(out->type, sizeof out->type, "%s", file_systems[i].name);
    }
    return AEGIS_OK;
}
#else
static int posix_place(vfs *self, vfs_dir *dir, vfs_place_info *out) {
    (void)self;
    ALIVE(dir);
    struct statfs found;
    if (fstatfs(dir->at.fd, &found) != 0) return fail_system(errno, "ask for the file system of", dir->label);
    memset(out, 0, sizeof *out);
    out->read_only = (found.f_flags & MNT_RDONLY) != 0;
    out->network = (found.f_flags & MNT_LOCAL) == 0;
    out->free_bytes = (uint64_t)found.f_bavail * (uint64_t)found.f_bsize;
    snprintf(out->type, sizeof out->type, "%.23s", found.f_fstypename);
    return AEGIS_OK;
}
#endif

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static int posix_open(vfs *self, vfs_dir *dir, const char *name, unsigned flags, vfs_file **out) {
    (void)self;
    char label[LABEL_MAX];
    ALIVE(dir);
    TRY(check_name(name));
    make_label(dir, name, label);
    size_t length = strlen(label) + 1;
    vfs_file *file = malloc(sizeof *file + length);
    if (file == NULL) return fail(AEGIS_E_NOMEM, "no memory for file %s", label);
    memcpy(file->label, label, length);
    file->writable = (flags & (VFS_WRITE | VFS_CREATE)) != 0;
    file->flocked = NO_LOCK;
    int mode = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | (file->writable ? O_RDWR : O_RDONLY);
    if ((flags & VFS_CREATE) != 0) mode |= O_CREAT;
    if ((flags & VFS_EXCLUSIVE) != 0) mode |= O_EXCL;
    int error = enrol(&file->at, dir->at.fd, name, mode);
    struct stat found;
    if (error == 0 && fstat(file->at.fd, &found) != 0) error = errno;
    bool odd = error == EISDIR || error == ENXIO || (error == 0 && !S_ISREG(found.st_mode));
    if (error == 0 && !odd) {
        *out = file;
        return AEGIS_OK;
    }
    dismiss(&file->at, NULL);
    free(file);
    if (odd) return fail(AEGIS_E_NOTSTORE, "%s is not a regular file", label);
    return fail_system(error, "open", label);
}

static void posix_close(vfs *self, vfs_file *file) {
    (void)self;
    if (file == NULL) return;
    let_go(&file->at);
    dismiss(&file->at, NULL);
    free(file);
}

static int posix_read(vfs *self, vfs_file *file, uint64_t offset, void *bytes, size_t length, size_t *got) {
    (void)self;
    *got = 0;
    ALIVE(file);
    TRY(check_range(file->label, offset, length));
    while (*got < length) {
        ssize_t n = pread(file->at.fd, (uint8_t *)bytes + *got, length - *got, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_system(errno, "read", file->label);
        if (n == 0) break;
        *got += (size_t)n;
    }
    return AEGIS_OK;
}

static int write_all(vfs_file *file, uint64_t offset, const uint8_t *bytes, size_t length) {
    while (length > 0) {
        ssize_t n = pwrite(file->at.fd, bytes, length, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_system(errno, "write", file->label);
        if (n == 0) return fail(AEGIS_E_IO, "write %s: nothing was written at byte %llu", file->label, (unsigned long long)offset);
        bytes += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return AEGIS_OK;
}

static int posix_write(vfs *self, vfs_file *file, uint64_t offset, const void *bytes, size_t length) {
    (void)self;
    ALIVE(file);
    TRY(check_writable(file));
    TRY(check_range(file->label, offset, length));
    return write_all(file, offset, bytes, length);
}

static int posix_size(vfs *self, vfs_file *file, uint64_t *out) {
    (void)self;
    ALIVE(file);
    struct stat found;
    if (fstat(file->at.fd, &found) != 0) return fail_system(errno, "ask for the size of", file->label);
    *out = (uint64_t)found.st_size;
    return AEGIS_OK;
}

/* For file systems that know no fallocate. Starts at the end of the file: what is there stays. */
static int write_zeros(vfs *self, vfs_file *file, uint64_t offset, uint64_t end) {
    static const uint8_t zeros[ZERO_CHUNK];
    uint64_t size = 0;
    TRY(posix_size(self, file, &size));
    for (uint64_t at = max_u64(offset, size); at < end;) {
        size_t n = (size_t)min_u64(sizeof zeros, end - at);
        TRY(write_all(file, at, zeros, n));
        at += n;
    }
    return AEGIS_OK;
}

static int posix_allocate(vfs *self, vfs_file *file, uint64_t offset, uint64_t length) {
    ALIVE(file);
    TRY(check_writable(file));
    TRY(check_range(file->label, offset, length));
    if (length == 0) return AEGIS_OK;
#if defined(__linux__)
    int result;
    do result = fallocate(file->at.fd, 0, (off_t)offset, (off_t)length);
    while (result != 0 && errno == EINTR);
    if (result == 0) return AEGIS_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return fail_system(errno, "allocate space for", file->label);
#endif
    return write_zeros(self, file, offset, offset + length);
}

static void posix_push(vfs *self, vfs_file *file, uint64_t offset, uint64_t length) {
    (void)self, (void)file, (void)offset, (void)length;
#ifdef __linux__
    (void)sync_file_range(file->at.fd, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE);    /* a failure is its sync's to say */
#endif
}

/* What gave nobody a right to read gives none now. Where there are no such rights, or they are not ours to change, it stays as it is. */
static void posix_protect(vfs *self, vfs_file *file) {
    (void)self;
    struct stat found;
    if (file->at.fd >= 0 && fstat(file->at.fd, &found) == 0) (void)fchmod(file->at.fd, found.st_mode & 0444);
}

static int posix_sync(vfs *self, vfs_file *file) {
    (void)self;
    ALIVE(file);
    if (flush(file->at.fd, true) != 0) return fail_system(errno, "sync", file->label);
    return AEGIS_OK;
}

static int posix_truncate(vfs *self, vfs_file *file, uint64_t size) {
    (void)self;
    ALIVE(file);
    TRY(check_writable(file));
    TRY(check_range(file->label, size, 0));
    int result;
    do result = ftruncate(file->at.fd, (off_t)size);
    while (result != 0 && errno == EINTR);
    if (result != 0) return fail_system(errno, "truncate", file->label);
    return AEGIS_OK;
}

#if HAVE_OFD_LOCKS
static int posix_lock(vfs *self, vfs_file *file, uint64_t byte, enum vfs_lock_mode mode) {
    (void)self;
    ALIVE(file);
    if (mode == VFS_EXCLUSIVE_LOCK) TRY(check_writable(file));
    TRY(check_range(file->label, byte, 1));
    struct flock wish = {.l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    wish.l_type = (short)(mode == VFS_UNLOCK ? F_UNLCK : mode == VFS_SHARED ? F_RDLCK : F_WRLCK);
    int result;
    do result = fcntl(file->at.fd, F_OFD_SETLK, &wish);
    while (result != 0 && errno == EINTR);
    if (result == 0) return AEGIS_OK;
    if (errno == EAGAIN || errno == EACCES) return fail(AEGIS_E_LOCKED, "%s is locked by somebody else", file->label);
    return fail_system(errno, "lock", file->label);
}

static int posix_lock_held(vfs *self, vfs_file *file, uint64_t byte, bool *held) {
    (void)self;
    ALIVE(file);
    TRY(check_range(file->label, byte, 1));
    /* Asks what would stand against a shared lock: only an exclusive one. */
    struct flock probe = {.l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1, .l_type = F_RDLCK};
    if (fcntl(file->at.fd, F_OFD_GETLK, &probe) != 0) return fail_system(errno, "ask for the lock of", file->label);
    *held = probe.l_type != F_UNLCK;
    return AEGIS_OK;
}
#else
/* One lock for the whole file, which stands for the byte first locked exclusively. Shared locks and further bytes are granted
 * unseen: readers are not waited for on such a system, but two writers still exclude each other. */
static int posix_lock(vfs *self, vfs_file *file, uint64_t byte, enum vfs_lock_mode mode) {
    (void)self;
    ALIVE(file);
    if (mode == VFS_EXCLUSIVE_LOCK) TRY(check_writable(file));
    if (mode != VFS_EXCLUSIVE_LOCK && file->flocked != byte) return AEGIS_OK;
    if (mode == VFS_EXCLUSIVE_LOCK && file->flocked != NO_LOCK) return AEGIS_OK;
    int result;
    do result = flock(file->at.fd, (mode == VFS_EXCLUSIVE_LOCK ? LOCK_EX : LOCK_UN) | LOCK_NB);
    while (result != 0 && errno == EINTR);
    if (result == 0) {
        file->flocked = mode == VFS_EXCLUSIVE_LOCK ? byte : NO_LOCK;
        return AEGIS_OK;
    }
    if (errno == EWOULDBLOCK) return fail(AEGIS_E_LOCKED, "%s is locked by somebody else", file->label);
    return fail_system(errno, "lock", file->label);
}

/* flock can't be asked, only tried: for a moment this holds a shared lock, and a writer that comes then is refused. */
static int posix_lock_held(vfs *self, vfs_file *file, uint64_t byte, bool *held) {
    (void)self;
    (void)byte;
    ALIVE(file);
    *held = false;
    if (file->flocked != NO_LOCK) return AEGIS_OK;
    if (flock(file->at.fd, LOCK_SH | LOCK_NB) == 0) flock(file->at.fd, LOCK_UN);
    else if (errno == EWOULDBLOCK) *held = true;
    else return fail_system(errno, "ask for the lock of", file->label);
    return AEGIS_OK;
}
#endif

/* ---- the rest of the machine ------------------------------------------------------------------------------------------ */

static void posix_yield(vfs *self) {
    (void)self;
    (void)sched_yield();
}

static uint64_t posix_clock_ms(vfs *self) {
    (void)self;
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int posix_random(vfs *self, void *bytes, size_t length) {
    (void)self;
#if defined(__linux__)
    for (size_t done = 0; done < length;) {
        ssize_t n = getrandom((uint8_t *)bytes + done, length - done, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_system(errno, "read random bytes", NULL);
        done += (size_t)n;
    }
#else
    arc4random_buf(bytes, length);
#endif
    return AEGIS_OK;
}

static void posix_identify(vfs *self, char *text, size_t capacity) {
    (void)self;
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') snprintf(host, sizeof host, "an unnamed host");
    snprintf(text, capacity, "pid %ld on %s", (long)getpid(), host);
}

vfs *vfs_posix(void) {
    static vfs posix = {
        .open_root = posix_open_root, .open_dir = posix_open_dir, .close_dir = posix_close_dir, .sync_dir = posix_sync_dir,
        .sync_parent = posix_sync_parent, .list = posix_list, .rename = posix_rename, .unlink = posix_unlink,
        .place = posix_place, .open = posix_open, .close = posix_close, .read = posix_read, .write = posix_write,
        .allocate = posix_allocate, .sync = posix_sync, .push = posix_push, .protect = posix_protect, .truncate = posix_truncate, .size = posix_size,
        .lock = posix_lock, .lock_held = posix_lock_held, .bell_new = posix_bell_new, .bell_ring = posix_bell_ring, .bell_mute = posix_bell_mute,
        .bell_free = posix_bell_free, .clock_ms = posix_clock_ms, .yield = posix_yield, .random = posix_random, .identify = posix_identify};
    return &posix;
}
