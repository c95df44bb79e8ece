/* aegis_loop STORE THREADS SECONDS: the engine by its C interface. Appends of a 4 KiB payload under an entry of 176 bytes (what a
 * signed checkpoint has), each committed. The store is made where it is missing.
 */
#include "aegis.h"
#include "loop.h"

#define PAYLOAD 4096u
#define ENTRY 176u

static unsigned char payloads[THREADS_MAX][PAYLOAD], entries[THREADS_MAX][ENTRY];

static int append_one(void *context, unsigned thread, uint64_t turn) {
    uint64_t index = 0;
    memcpy(payloads[thread], &turn, sizeof turn);
    memcpy(entries[thread], &turn, sizeof turn);
    int code = aegis_append(context, AEGIS_TIER_SESSION, 1, entries[thread], ENTRY, payloads[thread], PAYLOAD, &index);
    return code != AEGIS_OK ? code : aegis_commit(context, AEGIS_TIER_SESSION, index);
}

static int failed(void) {
    aegis_error error;
    aegis_last_error(&error);
    fprintf(stderr, "%s\n", error.message);
    return 1;
}

int main(int argc, char **argv) {
    static const uint8_t secret[32] = {1}, id[16] = {1};
    const aegis_options options = {
        .struct_size = sizeof options, .mode = AEGIS_MODE_APPEND, .secret = secret, .store_id = id, .name = "bench"};
    aegis_store *store = NULL;
    if (argc != 4) return 2;
    srandom(1);
    for (unsigned t = 0; t < THREADS_MAX; t++) {
        for (unsigned i = 0; i < PAYLOAD; i++) payloads[t][i] = (unsigned char)random();
        for (unsigned i = 0; i < ENTRY; i++) entries[t][i] = (unsigned char)random();
    }
    if (aegis_open(argv[1], &options, &store, NULL) != AEGIS_OK) return failed();
    int code = run_loop(store, (unsigned)atoi(argv[2]), atof(argv[3]));
    if (aegis_close(store) != AEGIS_OK) return failed();
    return code;
}
