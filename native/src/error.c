/* error: the last failure of each thread, and the words for each code.
 *
 * The detail lives in thread-local memory, so recording it allocates nothing, takes no lock and cannot itself fail. It is
 * written whole by each failure and never cleared by a success: it means something only right after a negative code.
 *
 * A message says what is wrong with which thing, without a full stop: it is put after the path and before the hint.
 */
#include "base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#ifdef AEGIS_MUTANTS
int aegis_mutant = MUTANT_NONE;
#endif

#define SYSTEM_TEXT_MAX 96

typedef struct wording {
    const char *name;
    const char *message;
} wording;

#define SAY(code, text) [-(code)] = {#code, text}

static const wording wordings[] = {
    SAY(AEGIS_OK, "no error"),
    SAY(AEGIS_E_ARGUMENT, "the call cannot be meant as it was made"),
    SAY(AEGIS_E_NOMEM, "out of memory; nothing was changed"),
    SAY(AEGIS_E_IO, "the operating system reports an input or output error"),
    SAY(AEGIS_E_NOSPACE, "no space left; nothing was written, free some and try again"),
    SAY(AEGIS_E_DESCRIPTORS, "out of file descriptors"),
    SAY(AEGIS_E_NOTFOUND, "there is no such store, file or record"),
    SAY(AEGIS_E_EXISTS, "it is there already"),
    SAY(AEGIS_E_NOTSTORE, "the directory holds something else than a store"),
    SAY(AEGIS_E_VERSION, "written in a newer format than this version reads"),
    SAY(AEGIS_E_FOREIGN, "a file that belongs to another store, tier or place"),
    SAY(AEGIS_E_SECRET, "the store secret is wrong or missing"),
    SAY(AEGIS_E_LOCKED, "the store is open for writing elsewhere"),
    SAY(AEGIS_E_READONLY, "opened for reading only, or the place cannot be written"),
    SAY(AEGIS_E_NETWORK, "the store lies on a network file system, which was not allowed"),
    SAY(AEGIS_E_CORRUPT, "stored bytes are damaged; repair from a replica"),
    SAY(AEGIS_E_TORN, "an unfinished write at the end of the log"),
    SAY(AEGIS_E_ROLLBACK, "the log is shorter than, or different from, a head kept outside"),
    SAY(AEGIS_E_POISONED, "a write failed earlier; close the store and open it again"),
    SAY(AEGIS_E_UNKNOWN, "a write failed; only the next open can tell whether it was stored"),
    SAY(AEGIS_E_RANGE, "past the end of the log"),
    SAY(AEGIS_E_SPACE, "the buffer is too small"),
    SAY(AEGIS_E_LIMIT, "larger than a limit allows"),
    SAY(AEGIS_E_PROOF, "the proof does not hold"),
    SAY(AEGIS_E_FORKED, "the handle is from before a fork; open the store again in this process"),
    SAY(AEGIS_E_UNAUTHENTICATED, "cannot be shown to be genuine without the store secret"),
    SAY(AEGIS_E_WRITEONCE, "what stands in the audit tier stays as it is"),
    SAY(AEGIS_E_BUG, "an invariant of the engine broke; please report it"),
};

#define WORDING_COUNT (sizeof wordings / sizeof wordings[0])
_Static_assert(WORDING_COUNT == 1 - (AEGIS_E_BUG), "each code of aegis.h has its words");

static _Thread_local aegis_error last;

static int record(int code, int system_errno, const place *where, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));
static int record_text(int code, int system_errno, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int code_of_errno(int system_errno);
static const char *system_text(int system_errno, char *buffer, size_t size);
static void copy_text(char *to, size_t size, const char *from);
static void end_on_character(char *text);

int fail(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    record(code, 0, NULL, format, arguments);
    va_end(arguments);
    return code;
}

int fail_at(int code, const place *where, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    record(code, 0, where, format, arguments);
    va_end(arguments);
    return code;
}

int fail_system(int system_errno, const char *operation, const char *name) {
    char buffer[SYSTEM_TEXT_MAX];
    const char *text = system_text(system_errno, buffer, sizeof buffer);
    int code = code_of_errno(system_errno);
    if (name == NULL || name[0] == '\0') return record_text(code, system_errno, "%s: %s", operation, text);
    return record_text(code, system_errno, "%s %s: %s", operation, name, text);
}

void fail_again(const aegis_error *earlier) { last = *earlier; }

int fail_invariant(const char *condition, const char *file, int line) {
    /* The builder's directories are nobody's business and would fill the message. */
    const char *slash = strrchr(file, '/');
    return record_text(AEGIS_E_BUG, 0, "%s:%d: expected %s; please report it", slash != NULL ? slash + 1 : file, line,
                       condition);
}

void fail_add_place(const place *where) {
    if (last.code == AEGIS_OK || where == NULL) return;
    if (last.tier == 0) last.tier = where->tier;
    if (last.segment == 0) last.segment = where->segment;
    if (last.offset == 0) last.offset = where->offset;
    if (last.first == last.end) {
        last.first = where->first;
        last.end = where->end;
    }
    if (last.path[0] == '\0' && where->path != NULL) copy_text(last.path, sizeof last.path, where->path);
}

void aegis_last_error(aegis_error *out) {
    if (out != NULL) *out = last;
}

const char *aegis_error_name(int code) {
    /* Compared before it is negated: -INT_MIN does not exist. */
    if (code > 0 || code <= -(int)WORDING_COUNT) return "AEGIS_E_?";
    return wordings[-code].name;
}

const char *aegis_error_message(int code) {
    if (code > 0 || code <= -(int)WORDING_COUNT) return "a code that this version does not know";
    return wordings[-code].message;
}

static int record(int code, int system_errno, const place *where, const char *format, va_list arguments) {
    memset(&last, 0, sizeof last);
    last.code = code;
    last.system_errno = system_errno;
    int wanted = vsnprintf(last.message, sizeof last.message, format, arguments);
    if (wanted <= 0) copy_text(last.message, sizeof last.message, aegis_error_message(code));
    if (wanted >= (int)sizeof last.message) end_on_character(last.message);
    fail_add_place(where);
    return code;
}

static int record_text(int code, int system_errno, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    record(code, system_errno, NULL, format, arguments);
    va_end(arguments);
    return code;
}

static int code_of_errno(int system_errno) {
    switch (system_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return AEGIS_E_NOSPACE;
    case EMFILE:
    case ENFILE:
        return AEGIS_E_DESCRIPTORS;
    case ENOENT:
        return AEGIS_E_NOTFOUND;
    case EEXIST:
        return AEGIS_E_EXISTS;
    case EROFS:
    case EACCES:
    case EPERM:
        return AEGIS_E_READONLY;
    case ELOOP:
    case ENOTDIR:
        return AEGIS_E_NOTSTORE;
    case ENOMEM:
        return AEGIS_E_NOMEM;
    default:
        return AEGIS_E_IO;
    }
}

/* strerror() shares one buffer between threads. There are two strerror_r: GNU's returns the text, which need not be in the
 * buffer; POSIX's returns 0 and fills it. */
static const char *system_text(int system_errno, char *buffer, size_t size) {
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    return strerror_r(system_errno, buffer, size);
#else
    if (strerror_r(system_errno, buffer, size) != 0) snprintf(buffer, size, "system error %d", system_errno);
    return buffer;
#endif
}

static void copy_text(char *to, size_t size, const char *from) {
    size_t length = strnlen(from, size);
    bool cut = length == size;
    if (cut) length = size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
    if (cut) end_on_character(to);
}

/* A text that was cut may end inside a character of several bytes, and then a strict UTF-8 decoder refuses all of it. */
static void end_on_character(char *text) {
    size_t length = strlen(text);
    size_t start = length;
    while (start > 0 && ((uint8_t)text[start - 1] & 0xc0) == 0x80) start--;
    if (start == 0) return;
    start--;
    uint8_t lead = (uint8_t)text[start];
    size_t needs = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length - start < needs) text[start] = '\0';
}
