/* error.c: codes, words, and the detail of the last failure of a thread. */
#include "check.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "base.h"

static aegis_error last_error(void) {
    aegis_error error;
    memset(&error, 0xee, sizeof error);
    aegis_last_error(&error);
    return error;
}

static void *read_last(void *out) {
    aegis_last_error(out);
    return NULL;
}

static void *fail_with_tier(void *tier) {
    uint32_t mine = *(uint32_t *)tier;
    for (int i = 0; i < 2000; i++) {
        fail_at(AEGIS_E_RANGE, &(place){.tier = mine}, "thread %u", mine);
        if (!EXPECT_EQ_U64(last_error().tier, mine)) break;
    }
    return NULL;
}

static int checked(int n) {
    CHECK(n > 7);
    return AEGIS_OK;
}

static int tried(int code, bool *reached) {
    TRY(code);
    *reached = true;
    return AEGIS_OK;
}

/* First, so that nothing has failed yet. */
TEST(a_thread_starts_without_an_error) {
    aegis_error error = last_error();
    EXPECT(all_zero((const uint8_t *)&error, sizeof error));
    fail_add_place(&(place){.tier = 2, .path = "session"});
    error = last_error();
    EXPECT(all_zero((const uint8_t *)&error, sizeof error));
    aegis_last_error(NULL);
}

TEST(every_code_has_a_name_and_its_own_words) {
    EXPECT_STRING(aegis_error_name(AEGIS_OK), "AEGIS_OK");
    EXPECT_STRING(aegis_error_name(AEGIS_E_ARGUMENT), "AEGIS_E_ARGUMENT");
    EXPECT_STRING(aegis_error_name(AEGIS_E_CORRUPT), "AEGIS_E_CORRUPT");
    EXPECT_STRING(aegis_error_name(AEGIS_E_BUG), "AEGIS_E_BUG");
    for (int code = AEGIS_OK; code >= AEGIS_E_BUG; code--) {
        const char *name = aegis_error_name(code), *message = aegis_error_message(code);
        if (!EXPECT(name != NULL && message != NULL)) continue;
        EXPECT(code == AEGIS_OK || strncmp(name, "AEGIS_E_", 8) == 0);
        EXPECT(strlen(message) >= 8 && message[strlen(message) - 1] != '.');
        for (int other = AEGIS_OK; other > code; other--) {
            EXPECT(strcmp(name, aegis_error_name(other)) != 0);
            EXPECT(strcmp(message, aegis_error_message(other)) != 0);
        }
    }
}

TEST(an_unknown_code_has_words_too) {
    static const int unknown[] = {1, 99, AEGIS_E_BUG - 1, -1000, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        EXPECT_STRING(aegis_error_name(unknown[i]), "AEGIS_E_?");
        EXPECT_STRING(aegis_error_message(unknown[i]), "a code that this version does not know");
    }
}

TEST(fail_returns_its_code_and_keeps_the_message) {
    EXPECT_EQ_U64((uint64_t)-fail(AEGIS_E_LIMIT, "entry of %d bytes, at most %d", 70000, AEGIS_ENTRY_MAX), -AEGIS_E_LIMIT);
    aegis_error error = last_error();
    EXPECT(error.code == AEGIS_E_LIMIT);
    EXPECT_STRING(error.message, "entry of 70000 bytes, at most 65535");
    EXPECT_STRING(error.path, "");
    EXPECT(error.system_errno == 0 && error.tier == 0 && error.segment == 0 && error.offset == 0 && error.reserved == 0);
}

TEST(a_failure_without_a_message_gets_the_words_of_its_code) {
    fail(AEGIS_E_NOMEM, "%s", "");
    EXPECT_STRING(last_error().message, aegis_error_message(AEGIS_E_NOMEM));
}

TEST(fail_at_keeps_the_place) {
    place where = {.tier = 3, .segment = 7, .offset = 20971840, .first = 17, .end = 20, .path = "session/00000007.seg"};
    EXPECT(fail_at(AEGIS_E_CORRUPT, &where, "checksum") == AEGIS_E_CORRUPT);
    aegis_error error = last_error();
    EXPECT(error.code == AEGIS_E_CORRUPT);
    EXPECT_EQ_U64(error.tier, 3);
    EXPECT_EQ_U64(error.segment, 7);
    EXPECT_EQ_U64(error.offset, 20971840);
    EXPECT_EQ_U64(error.first, 17);
    EXPECT_EQ_U64(error.end, 20);
    EXPECT_STRING(error.path, "session/00000007.seg");
    EXPECT_STRING(error.message, "checksum");
}

TEST(a_failure_replaces_all_of_the_one_before) {
    fail_at(AEGIS_E_CORRUPT, &(place){.tier = 3, .segment = 7, .offset = 9, .end = 2, .path = "session"}, "long message");
    fail(AEGIS_E_RANGE, "short");
    aegis_error expected;
    memset(&expected, 0, sizeof expected);
    expected.code = AEGIS_E_RANGE;
    memcpy(expected.message, "short", 5);
    aegis_error error = last_error();
    EXPECT_BYTES(&error, &expected, sizeof error);
}

TEST(a_place_added_later_fills_only_what_is_empty) {
    fail_at(AEGIS_E_CORRUPT, &(place){.segment = 7, .offset = 512}, "checksum");
    fail_add_place(&(place){.tier = 1, .segment = 8, .offset = 9, .first = 4, .end = 6, .path = "audit"});
    fail_add_place(&(place){.tier = 2, .segment = 9, .offset = 8, .first = 1, .end = 2, .path = "memory"});
    fail_add_place(NULL);
    aegis_error error = last_error();
    EXPECT_EQ_U64(error.tier, 1);
    EXPECT_EQ_U64(error.segment, 7);
    EXPECT_EQ_U64(error.offset, 512);
    EXPECT_EQ_U64(error.first, 4);
    EXPECT_EQ_U64(error.end, 6);
    EXPECT_STRING(error.path, "audit");
    EXPECT_STRING(error.message, "checksum");
}

TEST(a_system_error_becomes_its_code) {
    static const struct {
        int system_errno, code;
    } table[] = {
        {ENOSPC, AEGIS_E_NOSPACE},     {EDQUOT, AEGIS_E_NOSPACE},     {EFBIG, AEGIS_E_NOSPACE},
        {EMFILE, AEGIS_E_DESCRIPTORS}, {ENFILE, AEGIS_E_DESCRIPTORS}, {ENOENT, AEGIS_E_NOTFOUND},
        {EEXIST, AEGIS_E_EXISTS},      {EROFS, AEGIS_E_READONLY},     {EACCES, AEGIS_E_READONLY},
        {EPERM, AEGIS_E_READONLY},     {ELOOP, AEGIS_E_NOTSTORE},     {ENOTDIR, AEGIS_E_NOTSTORE},
        {ENOMEM, AEGIS_E_NOMEM},       {EIO, AEGIS_E_IO},             {EBADF, AEGIS_E_IO},
        {0, AEGIS_E_IO},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        EXPECT_CODE(fail_system(table[i].system_errno, "write", "00000003.seg"), table[i].code);
        aegis_error error = last_error();
        EXPECT(error.code == table[i].code && error.system_errno == table[i].system_errno);
    }
}

TEST(a_system_error_says_what_was_done_to_what) {
    char expected[256];
    fail_system(ENOENT, "open", "00000003.seg");
    snprintf(expected, sizeof expected, "open 00000003.seg: %s", strerror(ENOENT));
    EXPECT_STRING(last_error().message, expected);
    fail_system(EIO, "sync", NULL);
    snprintf(expected, sizeof expected, "sync: %s", strerror(EIO));
    EXPECT_STRING(last_error().message, expected);
    fail_system(987654, "sync", "");
    snprintf(expected, sizeof expected, "sync: %s", strerror(987654));
    EXPECT_STRING(last_error().message, expected);
}

TEST(a_broken_invariant_is_a_bug_with_its_place) {
    EXPECT_CODE(checked(8), AEGIS_OK);
    EXPECT_CODE(checked(7), AEGIS_E_BUG);
    aegis_error error = last_error();
    EXPECT(error.code == AEGIS_E_BUG);
    EXPECT(strncmp(error.message, "test_error.c:", 13) == 0);
    EXPECT(strstr(error.message, ": expected n > 7; please report it") != NULL);
    fail_invariant("x", "plain.c", 12);
    EXPECT_STRING(last_error().message, "plain.c:12: expected x; please report it");
}

TEST(try_hands_on_a_failure_and_nothing_else) {
    bool reached = false;
    EXPECT_CODE(tried(AEGIS_E_TORN, &reached), AEGIS_E_TORN);
    EXPECT(!reached);
    EXPECT_CODE(tried(AEGIS_OK, &reached), AEGIS_OK);
    EXPECT(reached);
}

TEST(long_texts_are_cut_between_characters) {
    /* Shifted by one byte each, so that the cut meets every place in a character of 1 to 4 bytes. */
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\x92"};
    for (size_t c = 0; c < 4; c++) {
        size_t width = strlen(characters[c]);
        for (size_t shift = 0; shift < 4; shift++) {
            char text[1024];
            size_t length = shift;
            memset(text, '-', shift);
            while (length + width < sizeof text) {
                memcpy(text + length, characters[c], width);
                length += width;
            }
            text[length] = '\0';
            fail_at(AEGIS_E_IO, &(place){.path = text}, "%s", text);
            aegis_error error = last_error();
            EXPECT_EQ_U64(strlen(error.message), shift + (sizeof error.message - 1 - shift) / width * width);
            EXPECT_EQ_U64(strlen(error.path), shift + (sizeof error.path - 1 - shift) / width * width);
            EXPECT(strncmp(error.message, text, strlen(error.message)) == 0);
            EXPECT(strncmp(error.path, text, strlen(error.path)) == 0);
        }
    }
}

TEST(texts_that_just_fit_are_not_cut) {
    char message[256], path[128];
    memset(message, 'm', sizeof message);
    memset(path, 'p', sizeof path);
    memcpy(message + 253, "\xc3\xa9", 3);
    memcpy(path + 124, "\xe2\x82\xac", 4);
    fail_at(AEGIS_E_IO, &(place){.path = path}, "%s", message);
    EXPECT_STRING(last_error().message, message);
    EXPECT_STRING(last_error().path, path);
}

TEST(each_thread_has_its_own_last_error) {
    fail(AEGIS_E_LOCKED, "mine");
    aegis_error others;
    pthread_t thread;
    if (!EXPECT(pthread_create(&thread, NULL, read_last, &others) == 0)) return;
    pthread_join(thread, NULL);
    EXPECT(others.code == AEGIS_OK);
    EXPECT_STRING(last_error().message, "mine");

    pthread_t threads[3];
    uint32_t tiers[3] = {1, 2, 3};
    for (int i = 0; i < 3; i++) EXPECT(pthread_create(&threads[i], NULL, fail_with_tier, &tiers[i]) == 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    EXPECT_STRING(last_error().message, "mine");
}

#ifdef AEGIS_MUTANTS
TEST(no_mutant_is_awake_unless_a_test_wakes_it) {
    EXPECT(aegis_mutant == MUTANT_NONE);
    EXPECT(!MUTANT(NO_GROUP_SYNC));
    aegis_mutant = MUTANT_NO_GROUP_SYNC;
    EXPECT(MUTANT(NO_GROUP_SYNC) && !MUTANT(NO_LINK_CHECK));
    aegis_mutant = MUTANT_NONE;
}
#endif
