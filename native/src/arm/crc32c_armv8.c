/* crc32c by the CRC32C instructions of ARMv8 (optional in 8.0, part of 8.1).
 *
 * One stream: the instruction answers after one to three cycles on current cores, so interleaving (x86/crc32c_sse42.c) would
 * gain less here, and has not been measured.
 */
#include "base.h"

#if defined(__AARCH64EL__)

#include <arm_acle.h>

uint32_t crc32c_armv8(uint32_t state, const uint8_t *bytes, size_t length);

__attribute__((target("+crc")))
uint32_t crc32c_armv8(uint32_t state, const uint8_t *bytes, size_t length) {
    for (; length >= 8; length -= 8, bytes += 8) state = __crc32cd(state, load_u64(bytes));
    for (; length > 0; length--, bytes++) state = __crc32cb(state, *bytes);
    return state;
}

#endif
