/* cpu.c: what the processor has, and the switch that denies it. */
#include "check.h"

#include <pthread.h>

#include "cpu.h"

static void wish(const char *value) {
    if (value == NULL) unsetenv("AEGIS_CPU");
    else setenv("AEGIS_CPU", value, 1);
    cpu_probe_again();
}

static void *ask(void *out) {
    *(const cpu_features **)out = cpu();
    return NULL;
}

/* Whether a word stands in the first line of /proc/cpuinfo that starts so; -1 where there is no such line. */
static int kernel_says(const char *start, const char *word) {
    char line[8192];
    int answer = -1;
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) return -1;
    while (answer < 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, start, strlen(start)) != 0) continue;
        answer = 0;
        char *rest = NULL;
        for (char *next = strtok_r(line, " \t\n:", &rest); next != NULL; next = strtok_r(NULL, " \t\n:", &rest)) {
            if (strcmp(next, word) == 0) answer = 1;
        }
    }
    fclose(file);
    return answer;
}

/* First, so that these threads are the first to ask (the thread sanitizer looks on). */
TEST(threads_that_ask_first_together_agree) {
    pthread_t threads[4];
    const cpu_features *answers[4] = {0};
    for (int i = 0; i < 4; i++) EXPECT(pthread_create(&threads[i], NULL, ask, &answers[i]) == 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) EXPECT(answers[i] != NULL && answers[i] == cpu());
}

TEST(the_features_are_those_that_the_kernel_lists) {
    wish(NULL);
#if defined(__x86_64__)
    int crc32c = kernel_says("flags", "sse4_2");
    int sha256 = kernel_says("flags", "sha_ni");
#else
    int crc32c = kernel_says("Features", "crc32");
    int sha256 = kernel_says("Features", "sha2");
#endif
    if (crc32c >= 0) EXPECT(cpu()->crc32c == (crc32c == 1));
    if (sha256 >= 0) EXPECT(cpu()->sha256 == (sha256 == 1));
}

TEST(portable_denies_all_and_nothing_else_does) {
    wish("portable");
    EXPECT(!cpu()->crc32c && !cpu()->sha256);
    wish(NULL);
    const cpu_features all = *cpu();
    static const char *const others[] = {"", "fast", "Portable", "portable "};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        wish(others[i]);
        EXPECT(cpu()->crc32c == all.crc32c && cpu()->sha256 == all.sha256);
    }
}

TEST(the_environment_is_read_once) {
    wish("portable");
    unsetenv("AEGIS_CPU");
    EXPECT(!cpu()->crc32c && !cpu()->sha256);
    cpu_probe_again();
    const cpu_features *before = cpu();
    setenv("AEGIS_CPU", "portable", 1);
    EXPECT(cpu() == before);
}
