/* vfs_sim_state: contents in shared pages, tables and hashes of the simulator. See vfs_sim_state.h. */
#include "vfs_sim_state.h"

#include <stdlib.h>

/* The holder that brings a count to zero frees: it must see what the others wrote before they let go. */
static bool let_go(atomic_uint *holders) { return atomic_fetch_sub_explicit(holders, 1, memory_order_acq_rel) == 1; }
static void hold(atomic_uint *holders) { atomic_fetch_add_explicit(holders, 1, memory_order_relaxed); }
static bool is_shared(atomic_uint *holders) { return atomic_load_explicit(holders, memory_order_acquire) > 1; }

int sim_room(void *array, size_t count, size_t *room, size_t element) {
    if (count < *room) return AEGIS_OK;
    size_t wanted = *room == 0 ? 4 : *room * 2;
    /* Copied as bytes: a pointer to some type may not be read through a pointer to void pointers. */
    void *first;
    memcpy(&first, array, sizeof first);
    first = realloc(first, wanted * element);
    if (first == NULL) return sim_no_memory();
    memcpy(array, &first, sizeof first);
    *room = wanted;
    return AEGIS_OK;
}

const char *sim_last_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

/* ---- hashes ----------------------------------------------------------------------------------------------------------- */

#define ODD_1 0xd6e8feb86659fd93u
#define ODD_2 0xa0761d6478bd642fu

static uint64_t stir(uint64_t v, uint64_t odd) {
    v ^= v >> 32;
    v *= odd;
    v ^= v >> 29;
    v *= odd;
    return v ^ v >> 32;
}

static uint64_t turn(uint64_t v) { return v << 27 | v >> 37; }

/* Two lanes that take in the same words by different rules: each step can be undone, so nothing is lost on the way. */
static void take(sim_hash *h, uint64_t word) {
    h->a = turn((h->a ^ word) * ODD_1);
    h->b = turn(h->b + word) * ODD_2;
}

static sim_hash finish(sim_hash h) {
    return (sim_hash){stir(h.a, ODD_2) + turn(h.b), stir(h.b, ODD_1) ^ turn(h.a)};
}

sim_hash hash_bytes(uint64_t seed, const void *bytes, size_t length) {
    const uint8_t *p = bytes;
    sim_hash h = {seed ^ ODD_1, seed + ODD_2};
    take(&h, length);
    for (; length >= 8; length -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        take(&h, word);
    }
    uint64_t rest = 0;
    for (size_t i = 0; i < length; i++) rest |= (uint64_t)p[i] << 8 * i;
    take(&h, rest);
    return finish(h);
}

sim_hash hash_pair(sim_hash x, sim_hash y) {
    sim_hash h = x;
    take(&h, y.a);
    take(&h, y.b);
    return finish(h);
}

sim_hash hash_sector(uint64_t sector, const uint8_t bytes[VFS_SIM_SECTOR]) {
    if (all_zero(bytes, VFS_SIM_SECTOR)) return (sim_hash){0, 0};
    return hash_bytes(sector, bytes, VFS_SIM_SECTOR);
}

sim_hash hash_file(sim_hash sum, uint64_t size) { return hash_pair(sum, (sim_hash){size, 1}); }

/* ---- contents --------------------------------------------------------------------------------------------------------- */

static void page_drop(sim_page *page) {
    if (page != NULL && let_go(&page->holders)) free(page);
}

sim_content *content_new(void) {
    sim_content *content = calloc(1, sizeof *content);
    if (content != NULL) atomic_init(&content->holders, 1);
    return content;
}

sim_content *content_share(sim_content *content) {
    if (content != NULL) hold(&content->holders);
    return content;
}

void content_drop(sim_content *content) {
    if (content == NULL || !let_go(&content->holders)) return;
    for (size_t i = 0; i < content->count; i++) page_drop(content->pages[i]);
    free(content->pages);
    free(content);
}

void content_read(const sim_content *content, uint64_t offset, void *bytes, size_t length) {
    uint8_t *to = bytes;
    while (length > 0) {
        uint64_t index = offset / SIM_PAGE;
        size_t at = (size_t)(offset % SIM_PAGE);
        size_t n = (size_t)min_u64(length, SIM_PAGE - at);
        if (index < content->count && content->pages[index] != NULL) memcpy(to, content->pages[index]->bytes + at, n);
        else memset(to, 0, n);
        to += n;
        offset += n;
        length -= n;
    }
}

/* Makes the content the holder's own; its pages stay shared. */
static int content_own(sim_content **content) {
    sim_content *old = *content;
    if (!is_shared(&old->holders)) return AEGIS_OK;
    sim_content *copy = content_new();
    if (copy == NULL) return sim_no_memory();
    copy->pages = malloc(old->count * sizeof *copy->pages + 1);
    if (copy->pages == NULL) {
        free(copy);
        return sim_no_memory();
    }
    copy->size = old->size;
    copy->count = old->count;
    for (size_t i = 0; i < old->count; i++) {
        copy->pages[i] = old->pages[i];
        if (copy->pages[i] != NULL) hold(&copy->pages[i]->holders);
    }
    content_drop(old);
    *content = copy;
    return AEGIS_OK;
}

static int page_own(sim_page **page) {
    sim_page *old = *page;
    if (old != NULL && !is_shared(&old->holders)) return AEGIS_OK;
    sim_page *copy = malloc(sizeof *copy);
    if (copy == NULL) return sim_no_memory();
    atomic_init(&copy->holders, 1);
    if (old != NULL) memcpy(copy->bytes, old->bytes, SIM_PAGE);
    else memset(copy->bytes, 0, SIM_PAGE);
    page_drop(old);
    *page = copy;
    return AEGIS_OK;
}

static int content_reach(sim_content *content, uint64_t end) {
    size_t count = (size_t)((end + SIM_PAGE - 1) / SIM_PAGE);
    if (count > content->count) {
        sim_page **grown = realloc(content->pages, count * sizeof *grown);
        if (grown == NULL) return sim_no_memory();
        for (size_t i = content->count; i < count; i++) grown[i] = NULL;
        content->pages = grown;
        content->count = count;
    }
    content->size = max_u64(content->size, end);
    return AEGIS_OK;
}

int content_write(sim_content **content, uint64_t offset, const void *bytes, size_t length) {
    const uint8_t *from = bytes;
    if (length == 0) return AEGIS_OK;
    TRY(content_own(content));
    TRY(content_reach(*content, offset + length));
    while (length > 0) {
        sim_page **page = &(*content)->pages[offset / SIM_PAGE];
        size_t at = (size_t)(offset % SIM_PAGE);
        size_t n = (size_t)min_u64(length, SIM_PAGE - at);
        /* Pre-zeroed files stay small. */
        if (*page != NULL || !all_zero(from, n)) {
            TRY(page_own(page));
            memcpy((*page)->bytes + at, from, n);
        }
        from += n;
        offset += n;
        length -= n;
    }
    return AEGIS_OK;
}

int content_resize(sim_content **content, uint64_t size) {
    if (size == (*content)->size) return AEGIS_OK;
    TRY(content_own(content));
    sim_content *c = *content;
    if (size > c->size) return content_reach(c, size);
    size_t keep = (size_t)((size + SIM_PAGE - 1) / SIM_PAGE);
    size_t within = (size_t)(size % SIM_PAGE);
    if (within != 0 && c->pages[keep - 1] != NULL) {
        TRY(page_own(&c->pages[keep - 1]));
        memset(c->pages[keep - 1]->bytes + within, 0, SIM_PAGE - within);
    }
    for (size_t i = keep; i < c->count; i++) page_drop(c->pages[i]);
    c->count = keep;
    c->size = size;
    return AEGIS_OK;
}

sim_hash content_sum(const sim_content *content) {
    sim_hash sum = {0, 0};
    for (size_t i = 0; i < content->count; i++) {
        if (content->pages[i] == NULL) continue;
        for (size_t s = 0; s < SIM_PAGE / VFS_SIM_SECTOR; s++)
            sum = hash_plus(sum, hash_sector(i * (SIM_PAGE / VFS_SIM_SECTOR) + s, content->pages[i]->bytes + s * VFS_SIM_SECTOR));
    }
    return sum;
}

bool content_equal(const sim_content *x, const sim_content *y) {
    if (x->size != y->size) return false;
    for (size_t i = 0; i < x->count; i++) {
        const sim_page *p = x->pages[i], *q = y->pages[i];
        if (p == q) continue;
        if (p == NULL && all_zero(q->bytes, SIM_PAGE)) continue;
        if (q == NULL && all_zero(p->bytes, SIM_PAGE)) continue;
        if (p == NULL || q == NULL || memcmp(p->bytes, q->bytes, SIM_PAGE) != 0) return false;
    }
    return true;
}

/* ---- tables ----------------------------------------------------------------------------------------------------------- */

sim_table *table_new(void) {
    sim_table *table = calloc(1, sizeof *table);
    if (table != NULL) atomic_init(&table->holders, 1);
    return table;
}

sim_table *table_share(sim_table *table) {
    if (table != NULL) hold(&table->holders);
    return table;
}

void table_drop(sim_table *table) {
    if (table == NULL || !let_go(&table->holders)) return;
    for (size_t i = 0; i < table->count; i++) free(table->entries[i].name);
    free(table->entries);
    free(table);
}

uint32_t table_find(const sim_table *table, const char *name) {
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->entries[i].name, name) == 0) return table->entries[i].node;
    return SIM_NO_NODE;
}

static int table_append(sim_table *table, const char *name, uint32_t node) {
    TRY(sim_room(&table->entries, table->count, &table->room, sizeof *table->entries));
    char *copy = strdup(name);
    if (copy == NULL) return sim_no_memory();
    table->entries[table->count++] = (sim_entry){copy, node};
    return AEGIS_OK;
}

static int table_own(sim_table **table) {
    sim_table *old = *table;
    if (!is_shared(&old->holders)) return AEGIS_OK;
    sim_table *copy = table_new();
    if (copy == NULL) return sim_no_memory();
    for (size_t i = 0; i < old->count; i++) {
        int code = table_append(copy, old->entries[i].name, old->entries[i].node);
        if (code != AEGIS_OK) {
            table_drop(copy);
            return code;
        }
    }
    table_drop(old);
    *table = copy;
    return AEGIS_OK;
}

int table_set(sim_table **table, const char *name, uint32_t node) {
    TRY(table_own(table));
    for (size_t i = 0; i < (*table)->count; i++) {
        if (strcmp((*table)->entries[i].name, name) != 0) continue;
        (*table)->entries[i].node = node;
        return AEGIS_OK;
    }
    return table_append(*table, name, node);
}

static void table_take_out(sim_table *table, size_t i) {
    free(table->entries[i].name);
    table->count--;
    memmove(&table->entries[i], &table->entries[i + 1], (table->count - i) * sizeof *table->entries);
}

int table_remove(sim_table **table, const char *name) {
    TRY(table_own(table));
    for (size_t i = 0; i < (*table)->count; i++) {
        if (strcmp((*table)->entries[i].name, name) != 0) continue;
        table_take_out(*table, i);
        break;
    }
    return AEGIS_OK;
}

int table_forget(sim_table **table, uint32_t node) {
    TRY(table_own(table));
    for (size_t i = (*table)->count; i > 0; i--)
        if ((*table)->entries[i - 1].node == node) table_take_out(*table, i - 1);
    return AEGIS_OK;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------------ */

int state_add(sim_state *state, uint32_t *node) {
    TRY(sim_room(&state->nodes, state->count, &state->room, sizeof *state->nodes));
    state->nodes[state->count] = (sim_node){NULL, NULL, 0, 0, false};
    *node = (uint32_t)state->count++;
    return AEGIS_OK;
}

int state_copy(const sim_state *state, sim_state *out) {
    *out = (sim_state){0, 0, NULL};
    if (state->count == 0) return AEGIS_OK;
    out->nodes = malloc(state->count * sizeof *out->nodes);
    if (out->nodes == NULL) return sim_no_memory();
    out->count = out->room = state->count;
    for (size_t i = 0; i < state->count; i++) {
        const sim_node *node = &state->nodes[i];
        out->nodes[i] = (sim_node){content_share(node->content), table_share(node->table), node->names, 0, false};
    }
    return AEGIS_OK;
}

void state_clear(sim_state *state) {
    for (size_t i = 0; i < state->count; i++) {
        content_drop(state->nodes[i].content);
        table_drop(state->nodes[i].table);
    }
    free(state->nodes);
    *state = (sim_state){0, 0, NULL};
}
