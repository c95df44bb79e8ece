/* crc32c: the Castagnoli CRC (RFC 3720 appendix B.4), reflected, initial and final value inverted. */
#ifndef AEGIS_CRC32C_H
#define AEGIS_CRC32C_H

#include "base.h"

/* crc of (what `crc` already covers, then bytes); start from 0. crc32c(0, "123456789", 9) == 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t length);
/* The name of the path in use: "sse4.2", "armv8-crc" or "portable". */
const char *crc32c_path(void);

#endif
