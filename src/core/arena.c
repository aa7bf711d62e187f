#include "arena.h"

#include "futex.h"
#include "shm.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

_Static_assert(sizeof(struct fm_block) == FM_CACHE_LINE, "payloads are cache-aligned");

/* Address space for one heap: plenty, since it costs nothing, and less where that is refused. */
#define HEAP_SIZE_MOST ((size_t)1 << 36)
#define HEAP_SIZE_LEAST ((size_t)1 << 22)

/* The smallest block holds 256 bytes; its class is 0. */
#define SMALLEST_SHIFT 8

/* Free memory that a heap keeps when it has to grow. */
#define KEPT_FREE_BYTES (UINT64_C(32) << 20)

static size_t
shared_size(void)
{
    return (sizeof(struct fm_arena_shared) + 4095) & ~(size_t)4095;
}

static void
set_view(struct fm_arena *arena, void *memory, unsigned heap_count, uint64_t limit)
{
    arena->shared = memory;
    arena->heaps = (char *)memory + shared_size();
    arena->heap_size = (arena->mapped_size - shared_size()) / heap_count & ~(size_t)4095;
    arena->heap_count = heap_count;
    arena->limit = limit;
}

int
fm_arena_map(struct fm_arena *arena, unsigned heap_count, uint64_t limit, bool is_attached_to)
{
    void *memory;
    size_t most = HEAP_SIZE_MOST * heap_count + shared_size();
    size_t least = HEAP_SIZE_LEAST * heap_count + shared_size();
    int result = fm_shm_map_most(most, least, &memory, &arena->mapped_size, &arena->fd);
    if (result < 0 && !is_attached_to) {
        arena->fd = -1;
        result = fm_shm_map_most(most, least, &memory, &arena->mapped_size, NULL);
    }
    if (result == 0) {
        set_view(arena, memory, heap_count, limit);
    }
    return result;
}

int
fm_arena_attach(struct fm_arena *arena, unsigned heap_count, uint64_t limit, int fd)
{
    void *memory;
    int result = fm_shm_attach(fd, &memory, &arena->mapped_size);
    arena->fd = fd;
    if (result == 0) {
        set_view(arena, memory, heap_count, limit);
    }
    return result;
}

void
fm_arena_unmap(struct fm_arena *arena)
{
    fm_shm_unmap(arena->shared, arena->mapped_size);
    arena->shared = NULL;
    if (arena->fd >= 0) {
        (void)close(arena->fd);
    }
}

void
fm_arena_make_private(const struct fm_arena *arena, uint64_t begin, uint64_t end)
{
    if (arena->fd >= 0) {
        fm_shm_make_private(arena->heaps + begin, end - begin, arena->fd, shared_size() + begin);
    }
}

static struct fm_heap_shared *
heap_shared(const struct fm_arena *arena, unsigned number)
{
    return (struct fm_heap_shared *)(arena->heaps + number * arena->heap_size);
}

static struct fm_block *
block_of(const struct fm_arena *arena, uint64_t offset)
{
    return (struct fm_block *)(arena->heaps + offset) - 1;
}

/* Offset, like all of them, from the start of the heaps; where the first block's header goes. */
static uint64_t
first_block(const struct fm_arena *arena, unsigned number)
{
    return number * arena->heap_size + sizeof(struct fm_heap_shared);
}

void
fm_heap_init(struct fm_heap *heap, struct fm_arena *arena, unsigned number)
{
    *heap = (struct fm_heap){.arena = arena, .number = number};
    heap->shared = heap_shared(arena, number);
    if (heap->shared->top == 0) {
        heap->shared->top = first_block(arena, number);
    }
    (void)pthread_mutex_init(&heap->lock, NULL);
}

void
fm_heap_fini(struct fm_heap *heap)
{
    (void)pthread_mutex_destroy(&heap->lock);
}

static uint64_t
bytes_out(const struct fm_arena *arena, unsigned first)
{
    uint64_t out = 0;
    for (unsigned i = first; i < arena->heap_count; i++) {
        struct fm_heap_shared *shared = heap_shared(arena, i);
        uint64_t returned = fm_load_relaxed(&shared->returned_bytes);
        uint64_t taken = fm_load_relaxed(&shared->taken_bytes);
        out += taken > returned ? taken - returned : 0;
    }
    return out;
}

bool
fm_arena_has_space(const struct fm_arena *arena, unsigned first, uint64_t size)
{
    uint64_t out = bytes_out(arena, first);
    return out <= arena->limit && size <= arena->limit - out;
}

bool
fm_arena_is_empty(const struct fm_arena *arena, unsigned first)
{
    return bytes_out(arena, first) == 0;
}

/* Four classes a power of two: 256, 320, 384, 448, 512, 640, ... */
static unsigned
class_of(uint64_t size)
{
    if (size <= UINT64_C(1) << SMALLEST_SHIFT) {
        return 0;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(size - 1);
    unsigned step = (unsigned)((size - 1) >> (shift - 2)) & 3;
    return (shift - SMALLEST_SHIFT) * 4 + step + 1;
}

static uint64_t
class_capacity(unsigned size_class)
{
    return (UINT64_C(4) + size_class % 4) << (SMALLEST_SHIFT - 2 + size_class / 4);
}

static void
push_free(struct fm_heap *heap, uint64_t offset)
{
    struct fm_block *block = block_of(heap->arena, offset);
    unsigned size_class = class_of(block->capacity);
    block->taken = 0;
    fm_store_relaxed(&block->next, heap->free[size_class]);
    heap->free[size_class] = offset;
    heap->free_bytes += block->capacity;
}

/* Moves what came back to the free lists, the last returned on top. */
static void
collect_returned(struct fm_heap *heap)
{
    uint64_t reversed = 0;
    if (fm_load_relaxed(&heap->shared->returned) == 0) {
        return;
    }
    /* Pairs with the release in fm_arena_return. */
    uint64_t offset = fm_exchange_acquire(&heap->shared->returned, 0);
    while (offset != 0) {
        struct fm_block *block = block_of(heap->arena, offset);
        uint64_t next = fm_load_relaxed(&block->next);
        fm_store_relaxed(&block->next, reversed);
        reversed = offset;
        offset = next;
    }
    while (reversed != 0) {
        uint64_t next = fm_load_relaxed(&block_of(heap->arena, reversed)->next);
        push_free(heap, reversed);
        reversed = next;
    }
}

static uint64_t
pop_free(struct fm_heap *heap, unsigned size_class)
{
    uint64_t offset = heap->free[size_class];
    if (offset != 0) {
        struct fm_block *block = block_of(heap->arena, offset);
        heap->free[size_class] = fm_load_relaxed(&block->next);
        /* What was discarded no longer counts, though its blocks are still in the lists. */
        heap->free_bytes -= block->capacity < heap->free_bytes ? block->capacity : heap->free_bytes;
    }
    return offset;
}

/* What came back is free, whoever gave it back; the walk over all blocks finds it. */
static void
unmark_returned(struct fm_heap *heap)
{
    /* Pairs with the release in fm_arena_return_lent. */
    uint64_t offset = fm_exchange_acquire(&heap->shared->returned, 0);
    while (offset != 0) {
        struct fm_block *block = block_of(heap->arena, offset);
        offset = fm_load_relaxed(&block->next);
        block->taken = 0;
    }
}

void
fm_heap_adopt(struct fm_heap *heap,
              bool (*is_lost)(const void *context, uint64_t item, uint64_t offset),
              const void *context)
{
    struct fm_arena *arena = heap->arena;
    uint64_t offset = first_block(arena, heap->number) + sizeof(struct fm_block);
    unmark_returned(heap);
    while (offset <= heap->shared->top) {
        struct fm_block *block = block_of(arena, offset);
        if (block->taken == 0) {
            push_free(heap, offset);
        } else if (is_lost(context, block->item, offset)) {
            (void)fm_add_relaxed(&heap->shared->returned_bytes, block->capacity);
            push_free(heap, offset);
        }
        offset += block->capacity + sizeof(struct fm_block);
    }
}

/* Other sizes are wanted now than before: the pages of what is free go back to the system. */
static void
discard_free_pages(struct fm_heap *heap)
{
    for (unsigned size_class = 0; size_class < FM_ARENA_CLASSES; size_class++) {
        uint64_t offset = heap->free[size_class];
        while (offset != 0) {
            struct fm_block *block = block_of(heap->arena, offset);
            fm_shm_discard(block + 1, block->capacity);
            offset = fm_load_relaxed(&block->next);
        }
    }
    heap->free_bytes = 0;
}

static uint64_t
make_block(struct fm_heap *heap, unsigned size_class)
{
    uint64_t capacity = class_capacity(size_class);
    uint64_t end = (heap->number + 1) * heap->arena->heap_size;
    if (capacity > end || heap->shared->top + sizeof(struct fm_block) > end - capacity) {
        return 0;
    }
    if (heap->free_bytes > KEPT_FREE_BYTES) {
        discard_free_pages(heap);
    }
    uint64_t offset = heap->shared->top + sizeof(struct fm_block);
    struct fm_block *block = block_of(heap->arena, offset);
    block->capacity = capacity;
    block->heap = heap->number;
    block->taken = 0;
    /* Last, so that a successor walks over whole blocks only. */
    fm_signal_fence();
    heap->shared->top = offset + capacity;
    return offset;
}

/* The heap has no address space left: a free block of a larger class must do. */
static uint64_t
pop_free_larger(struct fm_heap *heap, unsigned size_class)
{
    uint64_t offset = 0;
    while (offset == 0 && ++size_class < FM_ARENA_CLASSES) {
        offset = pop_free(heap, size_class);
    }
    return offset;
}

static void
hand_out(struct fm_heap *heap, uint64_t offset, uint64_t item)
{
    struct fm_block *block = block_of(heap->arena, offset);
    block->item = item;
    block->taken = 1;
    uint64_t taken = fm_load_relaxed(&heap->shared->taken_bytes);
    fm_store_relaxed(&heap->shared->taken_bytes, taken + block->capacity);
}

int
fm_heap_take(struct fm_heap *heap, uint64_t item, uint64_t size, uint64_t *offset)
{
    if (size > heap->arena->heap_size) {
        return -ENOMEM;
    }
    unsigned size_class = class_of(size);
    (void)pthread_mutex_lock(&heap->lock);
    collect_returned(heap);
    uint64_t found = pop_free(heap, size_class);
    if (found == 0) {
        found = make_block(heap, size_class);
    }
    if (found == 0) {
        found = pop_free_larger(heap, size_class);
    }
    if (found != 0) {
        hand_out(heap, found, item);
    }
    (void)pthread_mutex_unlock(&heap->lock);
    *offset = found;
    return found != 0 ? 0 : -ENOMEM;
}

void
fm_arena_lend(struct fm_arena *arena, uint64_t offset)
{
    struct fm_block *block = block_of(arena, offset);
    struct fm_heap_shared *shared = heap_shared(arena, block->heap);
    (void)fm_add_relaxed(&shared->returned_bytes, block->capacity);
    fm_fence_after_rmw();
    fm_arena_call_waiters(arena);
}

void
fm_arena_return_lent(struct fm_arena *arena, uint64_t offset)
{
    struct fm_block *block = block_of(arena, offset);
    struct fm_heap_shared *shared = heap_shared(arena, block->heap);
    uint64_t head = fm_load_relaxed(&shared->returned);
    do {
        fm_store_relaxed(&block->next, head);
    } while (!fm_cas_release(&shared->returned, &head, offset));
}

void
fm_arena_return(struct fm_arena *arena, uint64_t offset)
{
    fm_arena_return_lent(arena, offset);
    fm_arena_lend(arena, offset);
}

uint32_t
fm_arena_await_begin(struct fm_arena *arena)
{
    (void)fm_add_seq_cst(&arena->shared->space_waiters, 1);
    uint32_t ticket = fm_load_seq_cst(&arena->shared->space);
    fm_fence_seq_cst();
    return ticket;
}

int
fm_arena_await(struct fm_arena *arena, uint32_t ticket, int64_t timeout_ns)
{
    return fm_futex_wait(&arena->shared->space, ticket, timeout_ns);
}

void
fm_arena_await_end(struct fm_arena *arena)
{
    (void)fm_sub_seq_cst(&arena->shared->space_waiters, 1);
}

void
fm_arena_call_waiters(struct fm_arena *arena)
{
    if (fm_load_relaxed(&arena->shared->space_waiters) > 0) {
        (void)fm_add_seq_cst(&arena->shared->space, 1);
        (void)fm_futex_wake(&arena->shared->space, INT_MAX);
    }
}
