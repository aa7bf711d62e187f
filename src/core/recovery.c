#include "recovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
fm_recovery_init(struct fm_recovery *recovery, struct fm_board *board, struct fm_heap *heap,
                 uint64_t retries)
{
    *recovery = (struct fm_recovery){.board = board, .heap = heap, .retries = retries};
    if (retries > 0) {
        recovery->losses = calloc(board->slots.mask + 1, sizeof *recovery->losses);
        return recovery->losses != NULL ? 0 : -ENOMEM;
    }
    return 0;
}

void
fm_recovery_fini(struct fm_recovery *recovery)
{
    free(recovery->losses);
}

static void
complete_lost(struct fm_slots *slots, uint64_t item, const struct fm_value *crash)
{
    fm_slots_at(slots, item)->value = *crash;
    fm_slots_complete(slots, item);
}

/* The first of them last: a consumer that takes results in order comes to that one, whose error
 * names all. */
static void
complete_all_lost(struct fm_slots *slots, enum fm_slot_phase phase, unsigned worker,
                  const struct fm_value *crash)
{
    uint64_t first, item;
    struct fm_slots_walk walk = fm_slots_walk(slots);
    if (!fm_slots_walk_to(slots, &walk, phase, worker, &first)) {
        return;
    }
    while (fm_slots_walk_to(slots, &walk, phase, worker, &item)) {
        complete_lost(slots, item, crash);
    }
    complete_lost(slots, first, crash);
}

static bool
may_run_again(struct fm_recovery *recovery, uint64_t item)
{
    if (recovery->retries == 0) {
        return false;
    }
    struct fm_loss *loss = &recovery->losses[item & recovery->board->slots.mask];
    if (loss->item != item) {
        *loss = (struct fm_loss){.item = item};
    }
    return ++loss->count <= recovery->retries;
}

void
fm_recovery_settle(struct fm_recovery *recovery, unsigned worker, const struct fm_value *crash)
{
    uint64_t item;
    struct fm_slots *slots = &recovery->board->slots;
    struct fm_slots_walk walk = fm_slots_walk(slots);
    while (fm_slots_walk_to(slots, &walk, FM_SLOT_RUNNING, worker, &item)) {
        if (may_run_again(recovery, item)) {
            fm_slots_mark_retry(slots, item, worker);
        }
    }
    complete_all_lost(slots, FM_SLOT_RUNNING, worker, crash);
    /* It may have been killed after it spoke and before it left. */
    recovery->board->roster.last_words[worker].item = 0;
}

/* With the stack if there is room for it now, and without it else. */
static void
complete_overdue(struct fm_recovery *recovery, uint64_t item, const struct fm_last_words *words)
{
    struct fm_slots *slots = &recovery->board->slots;
    struct fm_value *value = &fm_slots_at(slots, item)->value;
    void *bytes;
    uint64_t size = words->size;
    if (fm_board_reserve(recovery->board, recovery->heap, item, size, value, &bytes)
        != FM_STORE_DONE) {
        size = 0;
        (void)fm_board_reserve(recovery->board, recovery->heap, item, 0, value, &bytes);
    }
    memcpy(bytes, words->stack, size);
    value->outcome = FM_OUTCOME_OVERDUE;
    fm_slots_complete(slots, item);
}

void
fm_recovery_settle_overdue(struct fm_recovery *recovery, unsigned worker)
{
    struct fm_slots *slots = &recovery->board->slots;
    struct fm_last_words *words = &recovery->board->roster.last_words[worker];
    uint64_t item;
    struct fm_slots_walk walk = fm_slots_walk(slots);
    while (fm_slots_walk_to(slots, &walk, FM_SLOT_RUNNING, worker, &item)) {
        if (item + 1 == words->item) {
            complete_overdue(recovery, item, words);
        } else {
            fm_slots_unclaim(slots, item);
        }
    }
    words->item = 0;
}

void
fm_recovery_abandon(struct fm_recovery *recovery, unsigned worker, const struct fm_value *crash)
{
    complete_all_lost(&recovery->board->slots, FM_SLOT_RETRY, worker, crash);
}

bool
fm_recovery_has_work(const struct fm_recovery *recovery, unsigned worker)
{
    uint64_t item;
    struct fm_slots *slots = &recovery->board->slots;
    struct fm_slots_walk walk = fm_slots_walk(slots);
    bool all_admitted = fm_slots_limit(slots) >= fm_load_acquire(&slots->shared->total);
    return !all_admitted || fm_slots_rewind(slots)
           || fm_slots_walk_to(slots, &walk, FM_SLOT_RETRY, worker, &item);
}
