#include "recovery.h"

#include <errno.h>
#include <stdlib.h>

int
fm_recovery_init(struct fm_recovery *recovery, struct fm_board *board, uint64_t retries)
{
    *recovery = (struct fm_recovery){.board = board, .retries = retries};
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
    struct fm_slots *slots = &recovery->board->slots;
    uint64_t item = fm_load_acquire(&slots->shared->consumed);
    while ((item = fm_slots_next_lost(slots, item, worker)) != FM_UNKNOWN_TOTAL) {
        if (may_run_again(recovery, item)) {
            fm_slots_mark_retry(slots, item, worker);
        } else {
            complete_lost(slots, item, crash);
        }
        item++;
    }
}

void
fm_recovery_abandon(struct fm_recovery *recovery, unsigned worker, const struct fm_value *crash)
{
    struct fm_slots *slots = &recovery->board->slots;
    uint64_t item = fm_load_acquire(&slots->shared->consumed);
    while ((item = fm_slots_next_in_phase(slots, item, FM_SLOT_RETRY, worker))
           != FM_UNKNOWN_TOTAL) {
        complete_lost(slots, item, crash);
        item++;
    }
}

bool
fm_recovery_has_work(const struct fm_recovery *recovery, unsigned worker)
{
    struct fm_slots *slots = &recovery->board->slots;
    uint64_t first = fm_load_acquire(&slots->shared->consumed);
    bool all_admitted = fm_slots_limit(slots) >= fm_load_acquire(&slots->shared->total);
    return !all_admitted || fm_slots_rewind(slots)
           || fm_slots_next_in_phase(slots, first, FM_SLOT_RETRY, worker) != FM_UNKNOWN_TOTAL;
}
