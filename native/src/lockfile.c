/* lockfile: see lockfile.h and docs/FORMAT.md. */
#include "lockfile.h"

static const uint8_t MAGIC[8] = {'A', 'E', 'G', 'I', 'S', 'L', 'C', 'K'};
static const uint8_t POISONED[8] = {'P', 'O', 'I', 'S', 'O', 'N', 'E', 'D'};

enum { L_POISON = 8, L_SIZES = 16, L_HOLDER = 80, LOCK_SIZE = 256, HOLDER_SIZE = LOCK_SIZE - L_HOLDER };
enum { BYTE_WRITER = 0, BYTE_READER = 1 };
_Static_assert(L_SIZES + 16 * AEGIS_TIERS == L_HOLDER, "FORMAT.md shows 80");

static int read_whole(lockfile *l, uint8_t bytes[LOCK_SIZE]) {
    size_t got = 0;
    memset(bytes, 0, LOCK_SIZE);
    return l->vfs->read(l->vfs, l->file, 0, bytes, LOCK_SIZE, &got);
}

static void encode_size(uint8_t *p, uint64_t size) {
    store_u64(p, size);
    store_u64(p + 8, ~size);
}

int lockfile_open_writer(lockfile *l, vfs *v, vfs_dir *dir, bool *poisoned) {
    uint8_t bytes[LOCK_SIZE];
    *l = (lockfile){.vfs = v, .writer = true};
    TRY(v->open(v, dir, LOCK_NAME, VFS_WRITE | VFS_CREATE, &l->file));
    int code = MUTANT(NO_WRITER_LOCK) ? AEGIS_OK : v->lock(v, l->file, BYTE_WRITER, VFS_EXCLUSIVE_LOCK);
    int read = read_whole(l, bytes);
    if (code == AEGIS_E_LOCKED) {
        bytes[LOCK_SIZE - 1] = 0;
        const char *holder = (const char *)bytes + L_HOLDER;
        const place where = {.path = LOCK_NAME};
        code = fail_at(AEGIS_E_LOCKED, &where, "the store is open for writing in %.150s",
                       read == AEGIS_OK && holder[0] != 0 ? holder : "another process");
    } else if (code == AEGIS_OK) {
        code = read;
    }
    if (code != AEGIS_OK) {
        lockfile_close(l);
        return code;
    }
    *poisoned = memcmp(bytes + L_POISON, POISONED, 8) == 0;
    return AEGIS_OK;
}

int lockfile_begin(lockfile *l, const uint64_t sizes[AEGIS_TIERS + 1]) {
    uint8_t bytes[LOCK_SIZE] = {0};
    memcpy(bytes, MAGIC, 8);
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) encode_size(bytes + L_SIZES + 16 * (t - 1), sizes[t]);
    l->vfs->identify(l->vfs, (char *)bytes + L_HOLDER, HOLDER_SIZE);
    TRY(l->vfs->write(l->vfs, l->file, 0, bytes, sizeof bytes));
    return MUTANT(NO_LOCK_SYNC) ? AEGIS_OK : l->vfs->sync(l->vfs, l->file);
}

int lockfile_open_reader(lockfile *l, vfs *v, vfs_dir *dir) {
    *l = (lockfile){.vfs = v};
    int code = v->open(v, dir, LOCK_NAME, VFS_READ, &l->file);
    if (code == AEGIS_E_NOTFOUND || code == AEGIS_E_READONLY) return AEGIS_OK;    /* a copy: there is no writer */
    TRY(code);
    /* The lock tells who removes old files that somebody still reads; a place that cannot lock has no such writer. */
    (void)v->lock(v, l->file, BYTE_READER, VFS_SHARED);
    return AEGIS_OK;
}

void lockfile_close(lockfile *l) {
    if (l->file == NULL) return;
    /* Not left to the descriptor's end: a child that was forked just now has a copy of it until it gets to run. */
    aegis_error cause;
    aegis_last_error(&cause);
    (void)l->vfs->lock(l->vfs, l->file, l->writer ? BYTE_WRITER : BYTE_READER, VFS_UNLOCK);
    fail_again(&cause);    /* of a close that failed: that the lock cannot be given back either is not why */
    l->vfs->close(l->vfs, l->file);
    l->file = NULL;
}

void lockfile_publish(lockfile *l, uint32_t tier, uint64_t size) {
    uint8_t bytes[16];
    encode_size(bytes, size);
    (void)l->vfs->write(l->vfs, l->file, L_SIZES + 16 * (uint64_t)(tier - 1), bytes, sizeof bytes);
}

void lockfile_poison(lockfile *l) {
    (void)l->vfs->write(l->vfs, l->file, L_POISON, POISONED, sizeof POISONED);
    if (!MUTANT(NO_POISON_WORD_SYNC)) (void)l->vfs->sync(l->vfs, l->file);
}

int lockfile_view(lockfile *l, lock_view *out) {
    uint8_t bytes[LOCK_SIZE];
    *out = (lock_view){.live = false};
    if (l->file == NULL) return AEGIS_OK;
    TRY(l->vfs->lock_held(l->vfs, l->file, BYTE_WRITER, &out->live));
    TRY(read_whole(l, bytes));
    out->poisoned = memcmp(bytes + L_POISON, POISONED, 8) == 0;
    if ((out->poisoned && !MUTANT(POISONED_IS_LIVE)) || memcmp(bytes, MAGIC, 8) != 0) out->live = false;
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) {
        const uint8_t *p = bytes + L_SIZES + 16 * (t - 1);
        /* A size that was read while it was written: nothing new this time, the next look will tell. */
        out->sizes[t] = load_u64(p) == ~load_u64(p + 8) || MUTANT(NO_SIZE_COMPLEMENT) ? load_u64(p) : 0;
    }
    return AEGIS_OK;
}
