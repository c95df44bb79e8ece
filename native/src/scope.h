/* scope: whose bytes these are. Handed to everything that reads or writes a log's files, so that no file of another store, tier
 * or alignment is ever taken for one of this log's. */
#ifndef AEGIS_SCOPE_H
#define AEGIS_SCOPE_H

#include "base.h"
#include "sha256.h"
#include "vfs.h"

#define STORE_ID_SIZE 16
#define NONCE_SIZE 16
#define MAC_SIZE 16
#define FORMAT_VERSION 0

typedef struct scope {
    vfs *vfs;
    uint8_t store_id[STORE_ID_SIZE];
    uint32_t tier;
    uint32_t align;          /* 8 or 4096 */
    bool keyed;              /* the store secret is known */
    hmac_key key;
} scope;

/* The first byte of every authenticated message, so that no code of one kind serves as another. */
enum mac_domain { MAC_LINK = 'L', MAC_SLOT = 'W', MAC_FOOTER = 'F', MAC_MANIFEST = 'M', MAC_OUTLINE = 'O' };

static inline void scope_mac(const scope *s, const uint8_t *message, size_t length, uint8_t out[MAC_SIZE]) {
    uint8_t whole[HASH_SIZE];
    hmac_whole(&s->key, message, length, whole);
    memcpy(out, whole, MAC_SIZE);
}

#endif
