/* The shared memory of one engine: where the ring, the roster and the arena lie.
 *
 * Mapped by the parent before any worker exists. Forked workers inherit it; those of a fork server
 * attach to it by descriptors. Nothing in it is an address, and each process works on its own copy
 * of this struct.
 */
#ifndef FM_BOARD_H
#define FM_BOARD_H

#include "arena.h"
#include "roster.h"
#include "slots.h"

struct fm_board_options {
    unsigned workers;
    uint64_t buffersize;
    bool inherited; /* the workers have the input; see slots.h */
    bool unordered;
    uint64_t total; /* of items; FM_UNKNOWN_TOTAL for a fed input */
    uint64_t arena_limit;
};

/* By which a process that did not inherit the memory attaches to it. */
struct fm_board_fds {
    int board;    /* the caller's to close */
    int arena;    /* arena.fd, which the arena closes itself, as the board does */
    int consumer; /* slots.consumer_fd */
};

struct fm_board {
    void *memory;
    size_t size;
    struct fm_slots slots;
    struct fm_roster roster;
    struct fm_arena arena; /* heap 0 is the parent's, heap w + 1 that of worker w */
};

/* 0 or -errno. `fds` is NULL if all workers are to inherit the memory. */
int fm_board_map(struct fm_board *board, const struct fm_board_options *options,
                 struct fm_board_fds *fds);

/* The same memory, by the same options, in a process that did not inherit it; 0 or -errno. Takes over
 * the descriptors, but for the board's. */
int fm_board_attach(struct fm_board *board, const struct fm_board_options *options,
                    const struct fm_board_fds *fds);

void fm_board_unmap(struct fm_board *board);

/* For whoever made items claimable: wakes workers for up to `count` of them. */
void fm_board_call_workers(struct fm_board *board, uint64_t count);

/* Consumer: the results of all items below `count` have been read; wakes whoever waits for the
 * room. */
void fm_board_consumed(struct fm_board *board, uint64_t count);

/* Out of line: wakes who waits for room, of which there is that of `items` more. */
void fm_board_call_for_room(struct fm_board *board, uint64_t consumed, uint64_t items);

/* The same for each single item, without the fence, and with a look only now and then: who waits, or
 * begins to, may be overlooked, and is seen a few items later or before the consumer sleeps. */
static inline void
fm_board_consumed_one(struct fm_board *board, uint64_t count)
{
    fm_slots_set_consumed(&board->slots, count);
    if ((count & board->slots.room_mask) == 0) {
        fm_board_call_for_room(board, count, board->slots.room_mask + 1);
    }
}

/* Parent: nothing more is wanted; everybody who waits wakes up and sees it. */
void fm_board_end(struct fm_board *board);

/* Why a payload could not be stored. */
enum fm_store_result {
    FM_STORE_DONE,
    FM_STORE_FULL,     /* not now: fm_board_await_space */
    FM_STORE_TOO_LARGE /* never */
};

/* Gives `value` room for `size` bytes, inline or in a block of the heap: *bytes is where to write
 * them. The item at the head of the order may go beyond the arena's limit, so that it can't wait
 * for items behind it. */
enum fm_store_result fm_board_reserve(struct fm_board *board, struct fm_heap *heap, uint64_t item,
                                      uint64_t size, struct fm_value *value, void **bytes);

/* Parent, for a worker that has ended, before its items are settled: what it had taken for them comes
 * back. (Once an item is completed it may be consumed, and its block counts as the consumer's.) */
void fm_board_reclaim(struct fm_board *board, unsigned worker);

/* Successor of a worker, after fm_heap_init: takes over the heap as the dead worker left it. */
void fm_board_adopt_heap(struct fm_board *board, struct fm_heap *heap);

/* Whether that would succeed now. */
bool fm_board_may_take(const struct fm_board *board, unsigned heap, uint64_t item, uint64_t size);

/* Sleeps until that might succeed, for a slice at most; false once the board has ended. */
bool fm_board_await_space(struct fm_board *board, const struct fm_heap *heap, uint64_t item,
                          uint64_t size);

/* A value's bytes and their number. */
const void *fm_board_bytes(const struct fm_board *board, const struct fm_value *value,
                           uint64_t *size);

/* Gives a value's block back, if it has one. */
void fm_board_drop(struct fm_board *board, const struct fm_value *value);

#endif
