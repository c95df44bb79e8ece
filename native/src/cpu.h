/* cpu: which instructions this processor has. AEGIS_CPU=portable in the environment, read once, denies all of them, so that
 * tests can run every path on one machine. */
#ifndef AEGIS_CPU_H
#define AEGIS_CPU_H

#include "base.h"

typedef struct cpu_features {
    bool crc32c;             /* SSE4.2, or the ARMv8 CRC extension */
    bool sha256;             /* SHA extensions with SSSE3 and SSE4.1, or the ARMv8 SHA2 extension */
} cpu_features;

const cpu_features *cpu(void);
/* Tests only: probe again after the environment was changed. */
void cpu_probe_again(void);

#endif
