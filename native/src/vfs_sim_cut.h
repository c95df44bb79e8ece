/* vfs_sim_cut: one power cut: what is pending at it, a choice among that, and the image that the choice makes (tests only).
 *
 * What is pending is a list of variables (each sector with pending versions, each size of a file that has pending ones) and a
 * list of changes to directories. A choice gives each variable one of its values, 0 being the durable one; a subset says which
 * changes happened. A choice and a subset make an image:
 *
 *   choice ──► content and hash of each pending file ──┐
 *                                                      ├──► hash of the image, or the image
 *   subset ──► tables, reachable paths, their hash  ───┘
 *
 * The hash comes from sums that change by a term for each sector, and needs no image: most combinations are repetitions.
 */
#ifndef AEGIS_VFS_SIM_CUT_H
#define AEGIS_VFS_SIM_CUT_H

#include "vfs_sim_state.h"

#define SECTOR VFS_SIM_SECTOR
#define NONE SIZE_MAX

typedef struct variable {
    size_t file;                /* index of the pending file */
    const sim_cell *cell;       /* NULL: the size */
    size_t values;
    size_t chosen;
    bool spoilt;                /* holds garbage, whatever is chosen */
} variable;

typedef struct pending_file {
    uint32_t node;
    const sim_file *file;
    size_t first, end;          /* its variables */
    size_t size_variable;       /* one of these, or NONE */
    bool shrinks;
    bool stale;                 /* hash and content are of another choice */
    sim_hash hash;
    sim_content *content;       /* NULL until an image needs it */
} pending_file;

/* A write that stopped inside: the newest version of one sector up to `keep` bytes, and perhaps a size of its own. */
typedef struct tear {
    size_t file;                /* NONE: no tear */
    uint64_t sector;
    size_t keep;                /* SECTOR: the sector is whole */
    bool sized;
    uint64_t size;
} tear;

typedef struct reach {
    uint32_t node;
    size_t pending;             /* index of the pending file, or NONE */
    sim_hash path;
} reach;

typedef struct subset {
    bool *kept;                 /* by change */
    sim_table **tables;         /* by node; NULL where it is no directory */
    size_t reach_count, reach_room;
    reach *reached;
    sim_hash fixed;             /* of all that no choice changes */
} subset;

typedef struct sim_cut {
    sim_disk disk;
    uint64_t random;
    size_t file_count, file_room;
    pending_file *files;
    size_t variable_count, variable_room;
    variable *variables;        /* by file, in it by sector, its size last */
    size_t subset_count, subset_room;
    subset *subsets;
    size_t *pending_of;         /* by node: index of the pending file, or NONE */
    tear tear;
    const subset *shown;        /* of the image that a test sees */
} sim_cut;

/* A number below `below`, from the cut's seed. */
uint64_t cut_draw(sim_cut *cut, uint64_t below);

/* Starts before the first operation; cut_end also after a failure. */
int cut_start(sim_cut *cut, const vfs_sim *recording, uint64_t seed);
void cut_end(sim_cut *cut);
/* Between enter and leave the disk stands still. A file that no disk can name has no variables. */
int cut_enter(sim_cut *cut);
void cut_leave(sim_cut *cut);

/* Gives a variable a value. */
void cut_choose(sim_cut *cut, size_t v, size_t value);
/* Spoils a sector, or mends it. */
void cut_spoil(sim_cut *cut, size_t v, bool spoilt);
/* Tears, or, with .file NONE, mends. */
void cut_tear(sim_cut *cut, tear t);
static inline size_t cut_newest(const sim_cut *cut, size_t v) { return cut->variables[v].values - 1; }
/* The value that the size of a pending file has. */
size_t cut_chosen_size(const sim_cut *cut, const pending_file *p);
/* The operation that made a value; 0 for a durable one. */
size_t cut_op(const sim_cut *cut, size_t v, size_t value);

/* Adds the subset of the changes marked in `kept`, which is taken over, also by a failure; NULL is one. */
int cut_add_subset(sim_cut *cut, bool *kept);
/* An array for it, or NULL. */
bool *cut_kept(const sim_cut *cut, bool value);

/* Brings the files' hashes up to the choice; before the two below. */
int cut_refresh(sim_cut *cut);
sim_hash cut_image_hash(const sim_cut *cut, const subset *s);
/* NULL: no memory. */
vfs_sim *cut_image(sim_cut *cut, const subset *s, bool record, uint64_t seed);

#endif
