/* vfs_sim_state: what the parts of the simulator share (tests only; the face is vfs_sim.h).
 *
 *   vfs_sim_state.c   file contents in shared pages, directory tables, hashes; knows nothing of power
 *   vfs_sim.c         the running system: the vfs calls
 *   vfs_sim_machine.c the machine: its life, its record, its faults
 *   vfs_sim_outside.c the disk from outside: read, patch, list, compare
 *   vfs_sim_disk.c    follows a record and knows what is durable and what is pending
 *   vfs_sim_crash.c   chooses among what is pending and makes images
 *
 * Contents and tables are shared by counting references and copied when one of several holders writes, so that a whole machine
 * is copied at the cost of its pointers: images number in the hundreds of thousands.
 */
#ifndef AEGIS_VFS_SIM_STATE_H
#define AEGIS_VFS_SIM_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "vfs_sim.h"

#define SIM_PAGE 4096
#define SIM_ABOVE 0u            /* the node of the directory that holds the root's name */
#define SIM_ROOT_NAME "/"
#define SIM_NO_NODE UINT32_MAX

/* 128 bits, for telling images apart; not against an adversary. Sums of hashes stand for sets. */
typedef vfs_sim_id sim_hash;

static inline sim_hash hash_plus(sim_hash x, sim_hash y) { return (sim_hash){x.a + y.a, x.b + y.b}; }
static inline sim_hash hash_minus(sim_hash x, sim_hash y) { return (sim_hash){x.a - y.a, x.b - y.b}; }
static inline bool hash_equal(sim_hash x, sim_hash y) { return x.a == y.a && x.b == y.b; }

sim_hash hash_bytes(uint64_t seed, const void *bytes, size_t length);
/* Of two hashes in order. */
sim_hash hash_pair(sim_hash x, sim_hash y);
/* Of a sector in its place; zeros hash to zero, so that a hole and written zeros are the same. */
sim_hash hash_sector(uint64_t sector, const uint8_t bytes[VFS_SIM_SECTOR]);
/* Of a file: the sum of its sectors' hashes, and its size. */
sim_hash hash_file(sim_hash sum, uint64_t size);

/* ---- contents --------------------------------------------------------------------------------------------------------- */

typedef struct sim_page {
    atomic_uint holders;
    uint8_t bytes[SIM_PAGE];
} sim_page;

/* A page that is NULL reads as zeros; bytes past `size` are zeros. */
typedef struct sim_content {
    atomic_uint holders;
    uint64_t size;
    size_t count;
    sim_page **pages;
} sim_content;

/* Make one, or NULL. A content is written through the pointer of one holder, which may change by it. */
sim_content *content_new(void);
sim_content *content_share(sim_content *content);
void content_drop(sim_content *content);
/* Zeros where it ends. */
void content_read(const sim_content *content, uint64_t offset, void *bytes, size_t length);
int content_write(sim_content **content, uint64_t offset, const void *bytes, size_t length);
int content_resize(sim_content **content, uint64_t size);
sim_hash content_sum(const sim_content *content);
bool content_equal(const sim_content *x, const sim_content *y);

/* ---- tables: the names of a directory --------------------------------------------------------------------------------- */

typedef struct sim_entry {
    char *name;
    uint32_t node;
} sim_entry;

typedef struct sim_table {
    atomic_uint holders;
    size_t count, room;
    sim_entry *entries;
} sim_table;

sim_table *table_new(void);
sim_table *table_share(sim_table *table);
void table_drop(sim_table *table);
/* SIM_NO_NODE: no such name. */
uint32_t table_find(const sim_table *table, const char *name);
int table_set(sim_table **table, const char *name, uint32_t node);
int table_remove(sim_table **table, const char *name);
/* Every entry of `node`. */
int table_forget(sim_table **table, uint32_t node);

/* ---- nodes ------------------------------------------------------------------------------------------------------------ */

/* A file has a content, a directory a table, a node that is gone neither. Numbers are never given twice. */
typedef struct sim_node {
    sim_content *content;
    sim_table *table;
    uint32_t names;             /* running system only: entries that name it */
    uint32_t handles;           /* running system only: open handles */
    bool is_protected;          /* running system only: it opens for reading */
} sim_node;

typedef struct sim_state {
    size_t count, room;
    sim_node *nodes;
} sim_state;

/* Grows the array of nodes by one empty node. */
int state_add(sim_state *state, uint32_t *node);
/* `out` is empty before. */
int state_copy(const sim_state *state, sim_state *out);
void state_clear(sim_state *state);

/* Makes room for one element more in an array that doubles. `array` is the address of the pointer to its first element. */
int sim_room(void *array, size_t count, size_t *room, size_t element);
/* "00000000.seg" of "session/00000000.seg". */
const char *sim_last_name(const char *path);

/* ---- the machine ------------------------------------------------------------------------------------------------------ */

typedef struct sim_lock {
    uint32_t node;
    bool exclusive;
    uint64_t byte;
    const vfs_file *owner;
} sim_lock;

struct vfs_dir {
    uint32_t node;
    struct vfs_dir *next;
    char path[];                /* "" for the root, else "session" */
};

struct vfs_file {
    uint32_t node;
    uint32_t dir;
    bool writable;
    struct vfs_file *next;
    char path[];
};

struct vfs_sim {
    vfs calls;                  /* first: the vfs* that the engine gets is a vfs_sim* */
    pthread_mutex_t mutex;      /* over all below; never held while a function of the caller runs */
    sim_state live;             /* what the running system sees */
    sim_state base;             /* what was durable when the record began */
    bool recording;
    size_t op_count, op_room;
    vfs_sim_op *ops;
    vfs_sim_fault fault;
    uint64_t fault_calls, fault_hits, call_count;
    uint64_t space;
    char *drop_pattern;
    bool drop_dirs;
    bool network, read_only;
    uint64_t clock_ms;
    uint64_t random_state;
    vfs_file *files;
    vfs_dir *dirs;
    uint64_t bells;             /* there are now */
    uint64_t rings;             /* of all bells so far */
    size_t lock_count, lock_room;
    sim_lock *locks;
    const void *origin;         /* the enumeration that made it, while that shows it */
};

extern const vfs sim_calls;
extern const char *const sim_kind_words[VFS_SIM_KINDS];

int sim_no_memory(void);
/* Lets go of the mutex and hands on the code. */
int sim_done(vfs_sim *sim, int code);
uint64_t sim_read_locked(vfs_sim *sim, const uint64_t *value);
/* Counts the call and fails it where it was told to. With the mutex held, as all below. */
int sim_gate(vfs_sim *sim, enum vfs_sim_kind kind, const char *path);
/* Puts it on record with copies of its texts and bytes, if there is a record. */
int sim_record(vfs_sim *sim, vfs_sim_op op);
/* A machine around `live`, which it takes over, also when it fails with NULL. */
vfs_sim *sim_make(sim_state *live, bool record, uint64_t seed);
/* The node that `path` names and the directory that would hold it; "" is the root. NOTFOUND leaves
 * *node SIM_NO_NODE and *dir right where only the last name is missing. */
int sim_walk(const vfs_sim *sim, const char *path, uint32_t *dir, uint32_t *node);
int sim_settle(vfs_sim *sim, bool record);
/* Moves a name in the running system; `node` SIM_NO_NODE removes it. Frees what no name and no handle holds any more. */
int sim_point(vfs_sim *sim, uint32_t dir, const char *name, uint32_t node);

/* ---- the disk: durable and pending ------------------------------------------------------------------------------------ */

/* `op` counts from 1 here and below: a disk that has it was cut after that many operations or later. */
typedef struct sim_version {
    size_t op;
    bool lost;                  /* in doubt for ever: a sync failed after it */
    sim_hash hash;
    uint8_t bytes[VFS_SIM_SECTOR];
} sim_version;

/* A sector with pending versions, oldest first. */
typedef struct sim_cell {
    uint64_t sector;
    size_t count, room;
    sim_version **versions;
} sim_cell;

typedef struct sim_size {
    size_t op;
    uint64_t size;
    bool lost;
    bool by_write;
    bool shrinks;
} sim_size;

typedef struct sim_file {
    bool is_dir;
    char *path;                 /* under which it was made, for people */
    sim_content *durable;       /* sectors; its own size means nothing while something is pending */
    sim_content *cache;         /* what the running system saw at this point */
    sim_table *table;           /* durable names */
    size_t hash_count;          /* by sector, of `durable` */
    sim_hash *hashes;
    sim_hash sum;               /* of these */
    size_t cell_count, cell_room;
    sim_cell *cells;            /* by sector */
    size_t size_count, size_room;
    sim_size *sizes;            /* [0] is the durable one */
} sim_file;

/* A pending change of a directory. */
typedef struct sim_change {
    size_t op;
    bool lost;
    uint32_t dir, node;
    enum vfs_sim_kind kind;
    const char *name, *to;
} sim_change;

typedef struct sim_disk {
    const vfs_sim *recording;
    size_t at;                  /* operations taken in */
    uint64_t marks;             /* of these, marks but submits */
    size_t file_count, file_room;
    sim_file *files;            /* by node */
    size_t change_count, change_room;
    sim_change *changes;
} sim_disk;

/* `disk` is overwritten; disk_end also after a failure. */
int disk_start(sim_disk *disk, const vfs_sim *recording);
/* Takes in the next operation. */
int disk_step(sim_disk *disk);
void disk_end(sim_disk *disk);
int disk_apply_change(sim_table **table, const sim_change *change);
static inline bool disk_pending(const sim_file *file) { return file->cell_count > 0 || file->size_count > 1; }

#endif
