/* error: what went wrong last on this thread, with the place. Codes are in aegis.h. */
#ifndef AEGIS_ERROR_H
#define AEGIS_ERROR_H

#include <stdint.h>

#include "aegis.h"

/* Where a failure happened, for fail_at(): fill what is known, leave the rest zero. `path` is relative to the store. */
typedef struct place {
    uint32_t tier;
    uint64_t segment;
    uint64_t offset;
    uint64_t first;      /* records hit: [first, end) */
    uint64_t end;
    const char *path;
} place;

/* Each records the detail for aegis_last_error() and returns `code`, so that a failure is one line: return fail(...). */
int fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fail_at(int code, const place *where, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* From errno: ENOSPC, EDQUOT and EFBIG become AEGIS_E_NOSPACE, EMFILE and ENFILE AEGIS_E_DESCRIPTORS, ENOENT
 * AEGIS_E_NOTFOUND, EEXIST AEGIS_E_EXISTS, EROFS, EACCES and EPERM AEGIS_E_READONLY, ELOOP and ENOTDIR AEGIS_E_NOTSTORE,
 * ENOMEM AEGIS_E_NOMEM, anything else AEGIS_E_IO. */
int fail_system(int system_errno, const char *operation, const char *name);
/* Puts a failure back that aegis_last_error gave, over those of what was tried since in its wake. */
void fail_again(const aegis_error *earlier);
int fail_invariant(const char *condition, const char *file, int line);
/* For a place that a caller further up knows better: fills the fields that are still empty in the last failure. */
void fail_add_place(const place *where);

#endif
