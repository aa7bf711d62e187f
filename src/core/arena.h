/* Blocks of shared memory for payloads that don't fit a slot.
 *
 * Every process that allocates owns one *heap* of the arena and is the only one to take blocks from
 * it: no lock is shared between processes. Any process may free a block; it pushes it on the heap's
 * `returned` list, from which the owner takes all at once. The block that came back last is handed
 * out first, because its pages are there and warm: a fresh page costs about thirty times the copy
 * of its bytes.
 *
 * Blocks never move or merge. Sizes are rounded up to four steps a power of two, which costs
 * address space rather than memory. The pages of free blocks go back to the system when a heap has
 * to grow while it keeps much that is free.
 */
#ifndef FM_ARENA_H
#define FM_ARENA_H

#include "atomic.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Payload bytes that may be out at once before allocations have to wait. */
#define FM_ARENA_DEFAULT_LIMIT (UINT64_C(256) << 20)

#define FM_ARENA_CLASSES 176

/* In front of each payload; 64 bytes, so that payloads are cache-aligned. */
struct fm_block {
    /* Offset of the next returned block; written by the one that pushes it, read by the owner after
     * its acquire of `returned`. */
    FM_CACHE_ALIGNED fm_atomic_u64 next;
    uint64_t capacity; /* payload bytes; constant */
    uint64_t item;     /* whose payload it holds; written by the heap's owner */
    uint32_t heap;     /* whose it is; constant */
    uint32_t taken;    /* handed out and not yet back in a free list; written by the heap's owner */
};

/* At the start of each heap. */
struct fm_heap_shared {
    /* Head of the list of blocks that came back (offset, 0 for none). Pushed by any process
     * (release), taken whole by the owner (acquire). */
    FM_CACHE_ALIGNED fm_atomic_u64 returned;
    /* Bytes that came back, ever. Added to by any process; relaxed. */
    fm_atomic_u64 returned_bytes;
    /* Bytes handed out, ever. Written by the owner; relaxed. */
    FM_CACHE_ALIGNED fm_atomic_u64 taken_bytes;
    /* Offset behind the last block ever made. Written by the owner, read by its successor. */
    uint64_t top;
};

struct fm_arena_shared {
    /* Processes sleep on this word until a block comes back; `space_waiters` says whether any do. */
    FM_CACHE_ALIGNED fm_atomic_u32 space;
    fm_atomic_u32 space_waiters;
};

/* A process's view of the arena. */
struct fm_arena {
    struct fm_arena_shared *shared;
    char *heaps;
    size_t heap_size;
    size_t mapped_size;
    unsigned heap_count;
    uint64_t limit;
    int fd; /* of its memory; -1 where the system granted none */
};

/* The owner's private side of a heap. Its own threads take `lock` for a few instructions at a time,
 * and never while they wait for anything. */
struct fm_heap {
    struct fm_arena *arena;
    struct fm_heap_shared *shared;
    unsigned number;
    pthread_mutex_t lock;
    uint64_t free[FM_ARENA_CLASSES]; /* first free block of each class, 0 for none */
    uint64_t free_bytes;             /* in those, with pages that may be there */
};

/* Reserves address space for `heap_count` heaps, before any worker exists; 0 or -errno. Goes without a
 * descriptor where there is none to be had, unless some process has to attach to the arena by it. */
int fm_arena_map(struct fm_arena *arena, unsigned heap_count, uint64_t limit, bool is_attached_to);

/* The same memory in a process that did not inherit it; 0 or -errno. Takes over the descriptor. */
int fm_arena_attach(struct fm_arena *arena, unsigned heap_count, uint64_t limit, int fd);
void fm_arena_unmap(struct fm_arena *arena);

/* In a forked process that is none of the arena's own: what it writes between those offsets, both in
 * one heap, reaches no other; see fm_shm_make_private. */
void fm_arena_make_private(const struct fm_arena *arena, uint64_t begin, uint64_t end);

/* The heap that a block is in. */
static inline unsigned
fm_arena_heap_of(const struct fm_arena *arena, uint64_t offset)
{
    return (unsigned)(offset / arena->heap_size);
}

/* In the process that is to own heap `number`. */
void fm_heap_init(struct fm_heap *heap, struct fm_arena *arena, unsigned number);
void fm_heap_fini(struct fm_heap *heap);

/* Takes over the heap of an owner that has died, after fm_heap_init: the blocks that it had free are
 * free again, and so are those that it had taken and that `is_lost` says nobody will return. */
void fm_heap_adopt(struct fm_heap *heap,
                   bool (*is_lost)(const void *context, uint64_t item, uint64_t offset),
                   const void *context);

/* Whether `size` more bytes in the heaps from `first` on stay below the arena's limit. */
bool fm_arena_has_space(const struct fm_arena *arena, unsigned first, uint64_t size);

/* Whether nothing is out of those heaps. */
bool fm_arena_is_empty(const struct fm_arena *arena, unsigned first);

/* Owner: a block of at least `size` bytes for `item`; *offset is that of its payload. 0, or -ENOMEM
 * where the heap's address space can't hold it. */
int fm_heap_take(struct fm_heap *heap, uint64_t item, uint64_t size, uint64_t *offset);

/* Any process, once per block: gives it back to its heap. */
void fm_arena_return(struct fm_arena *arena, uint64_t offset);

/* The same in two steps, for a block that somebody goes on using as memory of their own: from the
 * first on it no longer counts against the limit, from the second on it may be handed out again. */
void fm_arena_lend(struct fm_arena *arena, uint64_t offset);
void fm_arena_return_lent(struct fm_arena *arena, uint64_t offset);

static inline void *
fm_arena_bytes(const struct fm_arena *arena, uint64_t offset)
{
    return arena->heaps + offset;
}

/* Sleeping until something comes back: take a ticket, look for space again, wait. */
uint32_t fm_arena_await_begin(struct fm_arena *arena);
int fm_arena_await(struct fm_arena *arena, uint32_t ticket, int64_t timeout_ns);
void fm_arena_await_end(struct fm_arena *arena);

/* Wakes all that wait for space, if there are any. */
void fm_arena_call_waiters(struct fm_arena *arena);

#endif
