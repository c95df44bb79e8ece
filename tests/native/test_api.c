/* api: aegis.h as another language would use it, on the real machine: arguments, codes, and what a forked child may do. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static const uint8_t SECRET[32] = "a secret of thirty-two bytes ..";
static const uint8_t ID[16] = "a store's own id";
static const uint8_t ENTRY[4] = "entr";

static char place[64];

static const char *fresh_place(void) {
    snprintf(place, sizeof place, "/tmp/aegis-api-XXXXXX");
    EXPECT(mkdtemp(place) != NULL);
    return place;
}

static void clean(void) {
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", place);
    EXPECT(system(command) == 0);
}

static aegis_options options_for(uint32_t mode) {
    aegis_options o = {.struct_size = sizeof o, .mode = mode, .secret = SECRET, .store_id = ID, .name = "api"};
    return o;
}

static aegis_store *open_at(const char *path, uint32_t mode) {
    const aegis_options o = options_for(mode);
    aegis_store *store = NULL;
    return EXPECT_OK(aegis_open(path, &o, &store, NULL)) ? store : NULL;
}

static uint64_t append_one(aegis_store *store, uint32_t payload_length) {
    uint8_t payload[4096] = {7};
    uint64_t index = 0;
    EXPECT_OK(aegis_append(store, AEGIS_TIER_SESSION, 2, ENTRY, sizeof ENTRY, payload, payload_length, &index));
    EXPECT_OK(aegis_commit(store, AEGIS_TIER_SESSION, index));
    return index;
}

TEST(calls_that_cannot_be_meant_say_so) {
    aegis_store *store = NULL;
    aegis_options o = options_for(AEGIS_MODE_APPEND);
    const char *path = fresh_place();
    uint64_t index = 0;
    EXPECT_CODE(aegis_open(NULL, &o, &store, NULL), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_open(path, NULL, &store, NULL), AEGIS_E_ARGUMENT);
    o.struct_size = 8;
    EXPECT_CODE(aegis_open(path, &o, &store, NULL), AEGIS_E_ARGUMENT);
    o = options_for(9);
    EXPECT_CODE(aegis_open(path, &o, &store, NULL), AEGIS_E_ARGUMENT);
    o = options_for(AEGIS_MODE_APPEND);
    o.align = 512;
    EXPECT_CODE(aegis_open(path, &o, &store, NULL), AEGIS_E_ARGUMENT);
    o = options_for(AEGIS_MODE_APPEND);
    o.segment_bytes = 1000;
    EXPECT_CODE(aegis_open(path, &o, &store, NULL), AEGIS_E_ARGUMENT);
    o = options_for(AEGIS_MODE_APPEND);
    o.secret = NULL;
    EXPECT_CODE(aegis_open(path, &o, &store, NULL), AEGIS_E_SECRET);
    store = open_at(path, AEGIS_MODE_APPEND);
    EXPECT_CODE(aegis_append(store, 0, 2, ENTRY, 4, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, 5, 2, ENTRY, 4, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, 3, 0, ENTRY, 4, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, 3, 256, ENTRY, 4, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, 3, 2, ENTRY, 0, NULL, 0, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, 3, 2, ENTRY, 4, NULL, 9, &index), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_append(store, 3, 2, ENTRY, AEGIS_ENTRY_MAX + 1, NULL, 0, &index), AEGIS_E_LIMIT);
    EXPECT_CODE(aegis_append(store, 3, 2, ENTRY, 4, ENTRY, AEGIS_PAYLOAD_MAX + 1, &index), AEGIS_E_LIMIT);
    EXPECT_CODE(aegis_commit(store, 3, 0), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_close(NULL), AEGIS_OK);
    EXPECT_OK(aegis_close(store));
    clean();
}

TEST(the_end_of_a_log_is_a_range_error) {
    aegis_store *store = open_at(fresh_place(), AEGIS_MODE_APPEND);
    uint8_t buffer[8192], hashes[64 * 32];
    aegis_record record;
    aegis_head head;
    uint32_t count = 0;
    EXPECT_CODE(aegis_read(store, 3, 0, buffer, sizeof buffer, &record), AEGIS_E_RANGE);
    EXPECT_EQ_U64(append_one(store, 100), 0);
    EXPECT_OK(aegis_read(store, 3, 0, buffer, sizeof buffer, &record));
    EXPECT_EQ_U64(record.payload_length, 100);
    EXPECT_EQ_U64(record.kind, 2);
    EXPECT_CODE(aegis_read(store, 3, 1, buffer, sizeof buffer, &record), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_commit(store, 3, 1), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_head_at(store, 3, 2, &head), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_inclusion(store, 3, 0, 2, hashes, &count), AEGIS_E_RANGE);
    EXPECT_CODE(aegis_inclusion(store, 3, 1, 1, hashes, &count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_consistency(store, 3, 2, 1, hashes, &count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(aegis_consistency(store, 3, 1, 2, hashes, &count), AEGIS_E_RANGE);
    EXPECT_OK(aegis_close(store));
    clean();
}

TEST(a_buffer_that_is_too_small_is_told_what_is_needed) {
    aegis_store *store = open_at(fresh_place(), AEGIS_MODE_APPEND);
    uint8_t buffer[4200];
    aegis_record record;
    append_one(store, 4000);
    EXPECT_CODE(aegis_read(store, 3, 0, buffer, 100, &record), AEGIS_E_SPACE);
    EXPECT_EQ_U64(record.entry_length, 4);
    EXPECT_EQ_U64(record.payload_length, 4000);
    EXPECT_OK(aegis_read(store, 3, 0, buffer, sizeof buffer, &record));
    EXPECT_EQ_U64(buffer[record.payload_at], 7);
    EXPECT_OK(aegis_close(store));
    clean();
}

TEST(modes_find_what_they_ask_for) {
    const char *path = fresh_place();
    aegis_options o = options_for(AEGIS_MODE_READ);
    aegis_store *store = NULL;
    char missing[96];
    snprintf(missing, sizeof missing, "%s/not-there", path);
    EXPECT_CODE(aegis_open(missing, &o, &store, NULL), AEGIS_E_NOTFOUND);
    EXPECT_CODE(aegis_open(path, &o, &store, NULL), AEGIS_E_NOTFOUND);
    o.mode = AEGIS_MODE_WRITE;
    EXPECT_CODE(aegis_open(path, &o, &store, NULL), AEGIS_E_NOTFOUND);
    store = open_at(path, AEGIS_MODE_CREATE);
    append_one(store, 10);
    EXPECT_OK(aegis_close(store));
    o.mode = AEGIS_MODE_CREATE;
    EXPECT_CODE(aegis_open(path, &o, &store, NULL), AEGIS_E_EXISTS);
    store = open_at(path, AEGIS_MODE_READ);
    uint64_t index = 0;
    EXPECT_CODE(aegis_append(store, 3, 2, ENTRY, 4, NULL, 0, &index), AEGIS_E_READONLY);
    EXPECT_CODE(aegis_commit(store, 3, 0), AEGIS_E_READONLY);
    EXPECT_OK(aegis_close(store));
    clean();
}

TEST(a_store_describes_itself) {
    aegis_store *store = open_at(fresh_place(), AEGIS_MODE_APPEND);
    aegis_info info;
    aegis_tier_stats stats;
    aegis_footer footer;
    EXPECT_OK(aegis_describe(store, &info));
    EXPECT_BYTES(info.store_id, ID, 16);
    EXPECT_STRING(info.name, "api");
    EXPECT(info.crc_path[0] != 0 && info.sha_path[0] != 0);
    EXPECT_CODE(aegis_segment(store, 3, 0, &footer), AEGIS_E_RANGE);
    append_one(store, 10);
    EXPECT_OK(aegis_stats(store, 3, &stats));
    EXPECT_EQ_U64(stats.size, 1);
    EXPECT_EQ_U64(stats.appends, 1);
    EXPECT_EQ_U64(stats.durability, AEGIS_DURABILITY_COMMIT);
    EXPECT_OK(aegis_segment(store, 3, 0, &footer));
    EXPECT_EQ_U64(footer.sealed, 0);
    uint8_t signature[64] = {1};
    EXPECT_CODE(aegis_sign_segment(store, 3, 0, signature), AEGIS_E_ARGUMENT);
    uint64_t wait = 0;
    EXPECT_CODE(aegis_background(store, &wait), AEGIS_E_ARGUMENT);    /* there is a thread for it */
    EXPECT_OK(aegis_close(store));
    clean();
}

TEST(a_forked_child_is_refused_and_the_parent_goes_on) {
    aegis_store *store = open_at(fresh_place(), AEGIS_MODE_APPEND);
    append_one(store, 10);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        uint64_t index = 0, size = 0;
        bool refused = aegis_append(store, 3, 2, ENTRY, 4, NULL, 0, &index) == AEGIS_E_FORKED &&
                       aegis_size(store, 3, &size) == AEGIS_E_FORKED && aegis_close(store) == AEGIS_E_FORKED;
        const aegis_options o = options_for(AEGIS_MODE_APPEND);
        aegis_store *second = NULL;
        bool locked = aegis_open(place, &o, &second, NULL) == AEGIS_E_LOCKED;    /* the parent still holds it */
        aegis_store *reader = NULL;
        const aegis_options r = options_for(AEGIS_MODE_READ);
        bool reads = aegis_open(place, &r, &reader, NULL) == AEGIS_OK && aegis_size(reader, 3, &size) == AEGIS_OK && size == 1;
        aegis_abandon(store);
        _exit(refused && locked && reads ? 0 : 1);
    }
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT_EQ_U64(append_one(store, 10), 1);
    EXPECT_OK(aegis_close(store));
    clean();
}
