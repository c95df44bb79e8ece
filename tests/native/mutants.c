/* Takes every safeguard of native/src/mutants.h out, one after another, and demands that a test notices.
 *
 *   mutants [NAME]        all of them, or one; prints: safeguard | taken out | killed by | first broken promise
 *
 * The table below names for each one the test that kills it: first choice are the cuts (test_crash_states, test_crash_faults) and
 * the flipped bits (test_flips); where only the test of a single file can see it, that one. Every test that is named here passes
 * with nothing taken out: that is run first, for a test that always fails would kill everything.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutants.h"

#define SECONDS_MAX 300

typedef struct killer {
    const char *program;
    const char *test;
} killer;

typedef struct row {
    int mutant;
    killer by;
    const char *kept;        /* no test can see it go: why it stays all the same */
} row;

#define KILLED(name, program, test) {MUTANT_##name, {program, test}, NULL}
#define KEPT(name, why) {MUTANT_##name, {NULL, NULL}, why}

static const row ROWS[] = {
#include "killers.h"
};
#define ROW_COUNT (sizeof ROWS / sizeof ROWS[0])

#define NAME_OF(name, out) #name,
#define WORDS_OF(name, out) out,
static const char *const NAMES[] = {"NONE", MUTANTS_EVERY(NAME_OF)};
static const char *const WORDS[] = {"nothing", MUTANTS_EVERY(WORDS_OF)};

/* ---- one run of one test ---------------------------------------------------------------------------------------------- */

typedef struct run {
    killer what;
    int mutant;
    pid_t pid;
    FILE *output;
    bool ended;
    bool failed;
    char first[220];         /* of what it said, the first line that is no heading */
} run;

static const char *folder;

static void child(const run *r) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, r->what.program);
    dup2(fileno(r->output), STDOUT_FILENO);
    dup2(fileno(r->output), STDERR_FILENO);
    setenv("AEGIS_MUTANT", NAMES[r->mutant], 1);
    alarm(SECONDS_MAX);
    execl(path, path, r->what.test, (char *)NULL);
    fprintf(stderr, "    %s: %s\n", path, strerror(errno));
    _exit(127);
}

static bool start(run *r) {
    r->output = tmpfile();
    if (r->output == NULL) return false;
    fflush(stdout);
    r->pid = fork();
    if (r->pid == 0) child(r);
    return r->pid > 0;
}

static void end(run *r, int status) {
    char line[400];
    bool exited = WIFEXITED(status);
    r->ended = true;
    r->failed = !exited || WEXITSTATUS(status) == 1;
    if (exited && WEXITSTATUS(status) > 1) fprintf(stderr, "%s %s could not be run\n", r->what.program, r->what.test);
    if (!exited) snprintf(r->first, sizeof r->first, "ended by signal %d", WTERMSIG(status));
    rewind(r->output);
    while (fgets(line, sizeof line, r->output) != NULL) {
        if (strstr(line, ": no test of that name") != NULL) snprintf(r->first, sizeof r->first, "there is no such test");
        if (strncmp(line, "    ", 4) != 0 || !r->failed || r->first[0] != 0) continue;
        line[strcspn(line, "\n")] = 0;
        const char *said = line + 4, *colon = strchr(said, ':');    /* of a path the last name */
        for (const char *p = said; *said == '/' && colon != NULL && p < colon; p++)
            if (*p == '/' && memchr(p + 1, '/', (size_t)(colon - p - 1)) == NULL) said = p + 1;
        snprintf(r->first, sizeof r->first, "%.200s", said);
    }
    fclose(r->output);
}

/* Runs all of them, as many at a time as there are processors. */
static bool run_all(run *runs, size_t count, void (*ended)(const run *r)) {
    long at_once = sysconf(_SC_NPROCESSORS_ONLN);
    size_t started = 0, going = 0, told = 0;
    while (told < count) {
        for (; started < count && going < (size_t)at_once; started++, going++)
            if (!start(&runs[started])) return false;
        int status = 0;
        pid_t pid = wait(&status);
        for (size_t i = 0; i < started; i++)
            if (!runs[i].ended && runs[i].pid == pid) end(&runs[i], status), going--;
        for (; told < started && runs[told].ended; told++) ended(&runs[told]);    /* in the order of the table */
    }
    return true;
}

/* ---- the two passes --------------------------------------------------------------------------------------------------- */

static unsigned passed, broken, killed, survived;

static void unharmed(const run *r) {
    if (r->failed) printf("fails with nothing taken out: %s: %s: %s\n", r->what.program, r->what.test, r->first), broken++;
    else passed++;
}

static void harmed(const run *r) {
    if (r->failed) killed++;
    else survived++;
    printf("%-29s | %s | %s: %s | %s\n", NAMES[r->mutant], WORDS[r->mutant], r->what.program, r->what.test,
           r->failed ? r->first : "SURVIVES");
    fflush(stdout);
}

static bool same(const killer *a, const killer *b) { return strcmp(a->program, b->program) == 0 && strcmp(a->test, b->test) == 0; }

/* Each safeguard has one row. */
static bool complete(void) {
    bool whole = true;
    for (int m = 1; m < MUTANTS_END; m++) {
        unsigned rows = 0;
        for (size_t i = 0; i < ROW_COUNT; i++) rows += ROWS[i].mutant == m;
        if (rows != 1) printf("%s has %u rows in the table\n", NAMES[m], rows), whole = false;
    }
    return whole;
}

int main(int argc, char **argv) {
    static run with[ROW_COUNT], without[ROW_COUNT];
    size_t count = 0, distinct = 0;
    char *slash = strrchr(argv[0], '/');
    if (slash != NULL) *slash = 0;
    folder = slash != NULL ? argv[0] : ".";
    if (!complete()) return 1;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (argc > 1 && strcmp(argv[1], NAMES[ROWS[i].mutant]) != 0) continue;
        if (ROWS[i].kept != NULL) continue;
        size_t n = 0;
        while (n < distinct && !same(&without[n].what, &ROWS[i].by)) n++;
        if (n == distinct) without[distinct++] = (run){.what = ROWS[i].by};
        with[count++] = (run){.what = ROWS[i].by, .mutant = ROWS[i].mutant};
    }
    if (!run_all(without, distinct, unharmed) || broken > 0) return 1;
    printf("%u tests pass with nothing taken out\n", passed);
    if (!run_all(with, count, harmed)) return 1;
    for (size_t i = 0; i < ROW_COUNT && argc == 1; i++)
        if (ROWS[i].kept != NULL) printf("%-29s | %s | nobody | kept: %s\n", NAMES[ROWS[i].mutant], WORDS[ROWS[i].mutant], ROWS[i].kept);
    printf("%u safeguards taken out, %u noticed, %u not\n", killed + survived, killed, survived);
    return survived > 0 || killed == 0;
}
