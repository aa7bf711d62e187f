/* Which slot holds which item, where results are taken in the order in which they come.
 *
 * In such a ring a slow item must not keep those behind it from being admitted. So positions and
 * items part: an item is published at the next position whose slot is free, positions whose slots
 * are still held are passed over, and each argument says which item it belongs to.
 *
 * Private to the parent. Two parties, each with one thread at a time: the feeder places items, the
 * consumer finds those that are done and releases their slots.
 */
#ifndef FM_PLACEMENT_H
#define FM_PLACEMENT_H

#include "slots.h"

struct fm_placement {
    /* Of each slot: 1 + the position at which it is held, 0 if it is free. Filled by the feeder
     * (release), emptied by the consumer (release); either acquires. */
    fm_atomic_u64 *holders;
    uint64_t mask;
    /* Positions from here on have not been used. Written by the feeder (release). */
    fm_atomic_u64 next;
    /* Items in all, once that is known. Written by the feeder; release. */
    fm_atomic_u64 total;
    /* The consumer's own: the first position that may be held, and where to look next. */
    uint64_t oldest;
    uint64_t look;
};

/* For a ring of that capacity; 0 or -errno. */
int fm_placement_init(struct fm_placement *placement, uint64_t capacity);
void fm_placement_fini(struct fm_placement *placement);

/* Feeder, when there is room in the ring: a position whose slot is free, which it holds from now. */
uint64_t fm_placement_place(struct fm_placement *placement);

/* Feeder: the input has ended after `total` items. */
void fm_placement_finish(struct fm_placement *placement, uint64_t total);

/* Consumer: some item that is done and has not been released; false if there is none. */
bool fm_placement_find_done(struct fm_placement *placement, const struct fm_slots *slots,
                            uint64_t *position);

/* Consumer: how many items are done and have not been released. */
uint64_t fm_placement_count_done(struct fm_placement *placement, const struct fm_slots *slots);

/* Consumer: the item's result has been read, its slot may be used again. */
void fm_placement_release(struct fm_placement *placement, uint64_t position);

#endif
