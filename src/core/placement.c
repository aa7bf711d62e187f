#include "placement.h"

#include <errno.h>
#include <stdlib.h>

int
fm_placement_init(struct fm_placement *placement, uint64_t capacity)
{
    *placement = (struct fm_placement){.mask = capacity - 1};
    fm_store_relaxed(&placement->total, FM_UNKNOWN_TOTAL);
    placement->holders = calloc(capacity, sizeof *placement->holders);
    return placement->holders != NULL ? 0 : -ENOMEM;
}

void
fm_placement_fini(struct fm_placement *placement)
{
    free(placement->holders);
    placement->holders = NULL;
}

static fm_atomic_u64 *
holder_of(const struct fm_placement *placement, uint64_t position)
{
    return &placement->holders[position & placement->mask];
}

uint64_t
fm_placement_place(struct fm_placement *placement)
{
    uint64_t position = fm_load_relaxed(&placement->next);
    /* Pairs with the release in fm_placement_release. */
    while (fm_load_acquire(holder_of(placement, position)) != 0) {
        position++;
    }
    fm_store_release(holder_of(placement, position), position + 1);
    fm_store_release(&placement->next, position + 1);
    return position;
}

void
fm_placement_finish(struct fm_placement *placement, uint64_t total)
{
    fm_store_release(&placement->total, total);
}

/* Every slot that is held comes by once from here to the next position. */
static uint64_t
first_to_look_at(struct fm_placement *placement, uint64_t next)
{
    uint64_t capacity = placement->mask + 1;
    while (placement->oldest < next
           && fm_load_relaxed(holder_of(placement, placement->oldest)) != placement->oldest + 1) {
        placement->oldest++;
    }
    return next - placement->oldest > capacity ? next - capacity : placement->oldest;
}

bool
fm_placement_find_done(struct fm_placement *placement, const struct fm_slots *slots,
                       uint64_t *position)
{
    /* Pairs with the release in fm_placement_place. */
    uint64_t next = fm_load_acquire(&placement->next);
    uint64_t first = first_to_look_at(placement, next);
    for (uint64_t steps = next - first; steps > 0; steps--) {
        if (placement->look < first || placement->look >= next) {
            placement->look = first;
        }
        uint64_t holder = fm_load_acquire(holder_of(placement, placement->look));
        placement->look++;
        if (holder != 0 && fm_slots_is_done(slots, holder - 1)) {
            *position = holder - 1;
            return true;
        }
    }
    return false;
}

uint64_t
fm_placement_count_done(struct fm_placement *placement, const struct fm_slots *slots)
{
    uint64_t next = fm_load_acquire(&placement->next);
    uint64_t count = 0;
    for (uint64_t look = first_to_look_at(placement, next); look < next; look++) {
        uint64_t holder = fm_load_acquire(holder_of(placement, look));
        count += holder != 0 && fm_slots_is_done(slots, holder - 1);
    }
    return count;
}

void
fm_placement_release(struct fm_placement *placement, uint64_t position)
{
    fm_store_release(holder_of(placement, position), 0);
}
