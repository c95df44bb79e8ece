/* loop: threads that do one durable append after the other for a given time, and what is told of them.
 *
 * The including file gives `append_one`. One line of JSON goes to standard output: operations, seconds, median_us, p99_us, cpu_us
 * (user and system of the process, an operation), thread_cpu_us (with one thread only; else null).
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define WARM_UP 16
#define THREADS_MAX 1024
#define TIMES_MAX (1u << 20)    /* of one thread; more are counted and not sorted in */

/* Makes one append durable. Returns 0, or the process ends with that code. */
static int append_one(void *context, unsigned thread, uint64_t turn);

typedef struct worker {
    pthread_t thread;
    void *context;
    unsigned number;
    uint64_t operations;
    double cpu_us;
    uint32_t *taken_ns;
} worker;

static pthread_barrier_t gate;
static struct timespec limit;

static struct timespec clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t;
}

static int64_t ns_between(struct timespec from, struct timespec to) {
    return (int64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (to.tv_nsec - from.tv_nsec);
}

static double cpu_us(int who) {
    struct rusage used;
    getrusage(who, &used);
    return 1e6 * (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void must(int code) {
    if (code == 0) return;
    fprintf(stderr, "an append failed: %d\n", code);
    exit(1);
}

static void *work(void *argument) {
    worker *w = argument;
    uint64_t turn = 0;
    for (; turn < WARM_UP; turn++) must(append_one(w->context, w->number, turn));
    pthread_barrier_wait(&gate);    /* all are warm */
    pthread_barrier_wait(&gate);    /* the time has begun */
    double cpu = cpu_us(RUSAGE_THREAD);
    struct timespec before = clock_now();
    while (ns_between(before, limit) > 0) {
        must(append_one(w->context, w->number, turn++));
        struct timespec after = clock_now();
        if (w->operations < TIMES_MAX) w->taken_ns[w->operations] = (uint32_t)ns_between(before, after);
        w->operations++;
        before = after;
    }
    /* What ends after the time is not counted, but one operation is, however long it took. */
    if (w->operations > 1 && ns_between(limit, before) > 0) w->operations--;
    w->cpu_us = cpu_us(RUSAGE_THREAD) - cpu;
    return NULL;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int run_loop(void *context, unsigned threads, double seconds) {
    static worker workers[THREADS_MAX];
    uint64_t operations = 0, count = 0;
    if (threads < 1 || threads > THREADS_MAX) return 2;
    pthread_barrier_init(&gate, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (worker){.context = context, .number = i, .taken_ns = calloc(TIMES_MAX, sizeof(uint32_t))};
        if (workers[i].taken_ns == NULL || pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) return 2;
    }
    pthread_barrier_wait(&gate);
    double cpu = cpu_us(RUSAGE_SELF);
    struct timespec began = clock_now();
    int64_t limit_ns = began.tv_nsec + (int64_t)(seconds * 1e9);
    limit = (struct timespec){.tv_sec = began.tv_sec + limit_ns / 1000000000, .tv_nsec = limit_ns % 1000000000};
    pthread_barrier_wait(&gate);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        operations += workers[i].operations;
    }
    cpu = cpu_us(RUSAGE_SELF) - cpu;
    uint32_t *all = calloc((size_t)operations + 1, sizeof *all);
    if (all == NULL || operations == 0) return 2;
    for (unsigned i = 0; i < threads; i++) {
        uint64_t have = workers[i].operations < TIMES_MAX ? workers[i].operations : TIMES_MAX;
        memcpy(all + count, workers[i].taken_ns, (size_t)have * sizeof *all);
        count += have;
        free(workers[i].taken_ns);
    }
    qsort(all, (size_t)count, sizeof *all, by_size);
    printf("{\"operations\": %llu, \"seconds\": %.6f, \"median_us\": %.3f, \"p99_us\": %.3f, \"cpu_us\": %.3f, \"thread_cpu_us\": ",
           (unsigned long long)operations, seconds, (double)all[count / 2] / 1e3,
           (double)all[count * 99 / 100] / 1e3, cpu / (double)operations);
    if (threads == 1) printf("%.3f}\n", workers[0].cpu_us / (double)operations);
    else printf("null}\n");
    free(all);
    return 0;
}
