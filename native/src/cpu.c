/* cpu: asked once, then one relaxed load.
 *
 * What was found is kept as the number of one of four constant answers. Threads that ask first at the same time all probe and
 * all store the same number, so there is nothing to lock and no half-written answer to see.
 */
#include "cpu.h"

#include <stdatomic.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__AARCH64EL__) && defined(__linux__)
#include <sys/auxv.h>
#endif

enum {
    HAS_CRC32C = 1,
    HAS_SHA256 = 2,
    PROBED = 4,
};

static const cpu_features answers[PROBED] = {
    [0] = {.crc32c = false, .sha256 = false},
    [HAS_CRC32C] = {.crc32c = true, .sha256 = false},
    [HAS_SHA256] = {.crc32c = false, .sha256 = true},
    [HAS_CRC32C | HAS_SHA256] = {.crc32c = true, .sha256 = true},
};

static _Atomic unsigned found; /* PROBED | HAS_…; 0: nobody has asked yet */

static unsigned probe(void);
static unsigned ask_processor(void);

const cpu_features *cpu(void) {
    unsigned now = atomic_load_explicit(&found, memory_order_relaxed);
    if (now == 0) now = probe();
    return &answers[now - PROBED];
}

void cpu_probe_again(void) { probe(); }

static unsigned probe(void) {
    const char *wish = getenv("AEGIS_CPU");
    bool portable = wish != NULL && strcmp(wish, "portable") == 0;
    unsigned now = PROBED | (portable ? 0 : ask_processor());
    atomic_store_explicit(&found, now, memory_order_relaxed);
    return now;
}

#if defined(__x86_64__)

/* Intel SDM, CPUID leaf 1 ECX and leaf 7.0 EBX. All paths stay in XMM registers, whose state every x86-64 system saves. */
static unsigned ask_processor(void) {
    enum { SSSE3 = 1 << 9, SSE4_1 = 1 << 19, SSE4_2 = 1 << 20, SHA = 1 << 29 };
    unsigned a, b, c, d;
    unsigned has = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (c & SSE4_2) has |= HAS_CRC32C;
    bool shuffles = (c & SSSE3) && (c & SSE4_1);
    if (shuffles && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & SHA)) has |= HAS_SHA256;
    return has;
}

#elif defined(__AARCH64EL__) && defined(__linux__)

/* The kernel's arch/arm64 uapi hwcap.h; the numbers are its ABI. */
static unsigned ask_processor(void) {
    enum { SHA2 = 1 << 6, CRC32 = 1 << 7 };
    unsigned long capabilities = getauxval(AT_HWCAP);
    return (capabilities & CRC32 ? HAS_CRC32C : 0u) | (capabilities & SHA2 ? HAS_SHA256 : 0u);
}

#elif defined(__AARCH64EL__) && defined(__APPLE__)

static unsigned ask_processor(void) { return HAS_CRC32C | HAS_SHA256; /* every Apple core has both */ }

#else

static unsigned ask_processor(void) { return 0; }

#endif
