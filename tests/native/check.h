/* check: the test harness of the C core. A test program is one file that includes this once:
 *
 *   #include "check.h"
 *
 *   TEST(a_zero_frame_is_the_end_of_the_log) {
 *       EXPECT_CODE(frame_read(...), AEGIS_E_RANGE);
 *   }
 *
 * Tests run in the order of the file; `test_frame NAME` runs one alone. Each name is printed before its test starts, so that
 * a crash tells where; the last line is "N passed, N failed" and the exit status is 0 only if nothing failed.
 *
 * An expectation that fails prints where and what, marks the test and goes on (in any thread, in a function of any type). All
 * of them are expressions of type bool, for where going on makes no sense: if (!EXPECT(p != NULL)) return;
 */
#ifndef AEGIS_TESTS_CHECK_H
#define AEGIS_TESTS_CHECK_H

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aegis.h"
#ifdef AEGIS_MUTANTS
#include "mutants.h"
#endif

typedef struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
} check_test;

static check_test *check_first;
static check_test **check_end = &check_first;
static atomic_uint check_failures; /* of the test that runs */

/* A loop that goes wrong goes wrong often: the first few say it. */
#define CHECK_PRINTED_MAX 8

#define TEST(test_name)                                                                             \
    static void test_name(void);                                                                    \
    __attribute__((constructor)) static void check_add_##test_name(void) {                          \
        static check_test entry = {#test_name, test_name, NULL};                                    \
        *check_end = &entry;                                                                        \
        check_end = &entry.next;                                                                    \
    }                                                                                               \
    static void test_name(void)

#define EXPECT(condition) check_condition((condition), #condition, __FILE__, __LINE__)
#define EXPECT_EQ_U64(actual, expected) check_u64((actual), (expected), #actual, __FILE__, __LINE__)
#define EXPECT_BYTES(actual, expected, size) check_bytes((actual), (expected), (size), #actual, __FILE__, __LINE__)
#define EXPECT_STRING(actual, expected) check_string((actual), (expected), #actual, __FILE__, __LINE__)
/* For calls that return an AEGIS_… code: a failure shows the names and what aegis_last_error says. */
#define EXPECT_CODE(call, expected) check_code((call), (expected), #call, __FILE__, __LINE__)
#define EXPECT_OK(call) EXPECT_CODE(call, AEGIS_OK)

/* Counts a failure; true if it is still to be printed. */
static inline bool check_failed(const char *file, int line) {
    unsigned before = atomic_fetch_add(&check_failures, 1);
    if (before < CHECK_PRINTED_MAX) fprintf(stdout, "    %s:%d: ", file, line);
    if (before == CHECK_PRINTED_MAX) fprintf(stdout, "    and so on\n");
    return before < CHECK_PRINTED_MAX;
}

static inline bool check_condition(bool holds, const char *text, const char *file, int line) {
    if (!holds && check_failed(file, line)) printf("expected %s\n", text);
    return holds;
}

static inline bool check_u64(uint64_t actual, uint64_t expected, const char *text, const char *file, int line) {
    if (actual == expected) return true;
    if (check_failed(file, line)) {
        printf("%s is %" PRIu64 " (0x%" PRIx64 "), expected %" PRIu64 " (0x%" PRIx64 ")\n", text, actual, actual, expected,
               expected);
    }
    return false;
}

static inline bool check_bytes(const void *actual, const void *expected, size_t size, const char *text, const char *file,
                               int line) {
    const uint8_t *a = actual, *e = expected;
    if (size == 0 || memcmp(a, e, size) == 0) return true;
    if (check_failed(file, line)) {
        size_t at = 0;
        while (a[at] == e[at]) at++;
        printf("%s differs at byte %zu of %zu:", text, at, size);
        for (size_t i = at; i < size && i < at + 16; i++) printf(" %02x", a[i]);
        printf(", expected");
        for (size_t i = at; i < size && i < at + 16; i++) printf(" %02x", e[i]);
        printf("\n");
    }
    return false;
}

static inline bool check_string(const char *actual, const char *expected, const char *text, const char *file, int line) {
    if (actual != NULL && strcmp(actual, expected) == 0) return true;
    if (check_failed(file, line)) printf("%s is \"%s\", expected \"%s\"\n", text, actual ? actual : "(null)", expected);
    return false;
}

static inline bool check_code(int actual, int expected, const char *text, const char *file, int line) {
    if (actual == expected) return true;
    if (check_failed(file, line)) {
        aegis_error error;
        aegis_last_error(&error);
        printf("%s is %s, expected %s", text, aegis_error_name(actual), aegis_error_name(expected));
        if (actual != AEGIS_OK && actual == error.code) printf("; %s: %s", error.path, error.message);
        printf("\n");
    }
    return false;
}

/* Bytes from hexadecimal digits, which may have spaces between them. Returns how many; stops the program where the text is
 * wrong, since that is a mistake in the test. */
static inline size_t from_hex(const char *text, uint8_t *out, size_t capacity) {
    size_t digits = 0;
    for (; *text != '\0'; text++) {
        if (*text == ' ') continue;
        const char *place = strchr("0123456789abcdef", *text);
        if (place == NULL || digits / 2 >= capacity) {
            fprintf(stderr, "from_hex: not hexadecimal, or too long, at \"%s\"\n", text);
            exit(2);
        }
        unsigned value = (unsigned)(strchr("0123456789abcdef", *text) - "0123456789abcdef");
        out[digits / 2] = (uint8_t)(digits % 2 == 0 ? value << 4 : out[digits / 2] | value);
        digits++;
    }
    return digits / 2;
}

/* Numbers that look random and are the same in every run (splitmix64); start from any seed. */
static inline uint64_t next_random(uint64_t *seed) {
    uint64_t v = *seed += 0x9e3779b97f4a7c15;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
    v = (v ^ v >> 27) * 0x94d049bb133111eb;
    return v ^ v >> 31;
}

static inline void fill_random(uint64_t *seed, void *out, size_t size) {
    uint8_t *bytes = out;
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(next_random(seed) >> 56);
}

/* In a test build: takes out the safeguard that AEGIS_MUTANT names (native/src/mutants.h). */
static inline void check_take_out(void) {
#ifdef AEGIS_MUTANTS
#define CHECK_NAME(name, out) #name,
    static const char *const names[] = {"NONE", MUTANTS_EVERY(CHECK_NAME)};
#undef CHECK_NAME
    const char *asked = getenv("AEGIS_MUTANT");
    while (asked != NULL && aegis_mutant < MUTANTS_END && strcmp(names[aegis_mutant], asked) != 0) aegis_mutant++;
    if (aegis_mutant < MUTANTS_END) return;
    fprintf(stderr, "there is no safeguard %s\n", asked);
    exit(2);
#endif
}

int main(int argc, char **argv) {
    check_take_out();
    unsigned passed = 0, failed = 0;
    for (const check_test *test = check_first; test != NULL; test = test->next) {
        if (argc > 1 && strcmp(argv[1], test->name) != 0) continue;
        printf("  %s\n", test->name);
        fflush(stdout);
        atomic_store(&check_failures, 0);
        test->run();
        unsigned failures = atomic_load(&check_failures);
        if (failures > 0) printf("    FAILED %s: %u\n", test->name, failures);
        if (failures > 0) failed++;
        else passed++;
    }
    if (passed + failed == 0) fprintf(stderr, "%s: no test of that name\n", argv[0]);
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0;
}

/* Whether the last error says that. */
static inline bool message_has(const char *text) {
    aegis_error error;
    aegis_last_error(&error);
    if (strstr(error.message, text) != NULL) return true;
    printf("    message: %s\n", error.message);
    return false;
}

#endif
