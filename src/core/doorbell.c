#include "doorbell.h"

#include <stddef.h>

void
fm_doorbell_init(struct fm_doorbell *bell)
{
    fm_store_relaxed(&bell->wanted, FM_NOBODY);
    fm_store_relaxed(&bell->rings, 0);
}

uint32_t
fm_doorbell_arm(struct fm_doorbell *bell, uint64_t wanted)
{
    uint32_t ticket = fm_load_acquire(&bell->rings);
    fm_store_seq_cst(&bell->wanted, wanted);
    fm_fence_seq_cst();
    return ticket;
}

int
fm_doorbell_wait(struct fm_doorbell *bell, uint32_t ticket, int64_t timeout_ns)
{
    if (timeout_ns < 0 || timeout_ns > FM_DOORBELL_SLICE) {
        timeout_ns = FM_DOORBELL_SLICE;
    }
    int result = fm_futex_wait(&bell->rings, ticket, timeout_ns);
    fm_doorbell_disarm(bell);
    return result;
}

void
fm_doorbell_disarm(struct fm_doorbell *bell)
{
    fm_store_relaxed(&bell->wanted, FM_NOBODY);
}

bool
fm_doorbell_answer(struct fm_doorbell *bell, uint64_t wanted)
{
    if (!fm_cas_seq_cst(&bell->wanted, &wanted, FM_NOBODY)) {
        return false;
    }
    fm_doorbell_ring(bell);
    return true;
}

void
fm_doorbell_ring(struct fm_doorbell *bell)
{
    fm_add_seq_cst(&bell->rings, 1);
    (void)fm_futex_wake(&bell->rings, 1);
}

void
fm_moderation_init(struct fm_moderation *moderation)
{
    *moderation = (struct fm_moderation){.time = fm_clock_now(), .gap = 1};
}

static uint64_t
work_out_gap(const struct fm_moderation *moderation, uint64_t passed, int64_t elapsed)
{
    if (moderation->held_off > 0 || elapsed <= 0) {
        return 1;
    }
    uint64_t gap = passed * (uint64_t)FM_MODERATION_DELAY / (uint64_t)elapsed;
    /* At most twice the last gap, so that one burst does not teach patience. */
    return gap > 2 * moderation->gap ? 2 * moderation->gap : gap;
}

void
fm_moderation_update(struct fm_moderation *moderation, uint64_t position, uint64_t most)
{
    int64_t now = fm_clock_now();
    uint64_t passed = position - moderation->position;
    uint64_t gap = work_out_gap(moderation, passed, now - moderation->time);
    if (moderation->held_off > 0) {
        moderation->held_off--;
    } else if (moderation->gap > 1) {
        moderation->failures = 0;
    }
    moderation->gap = gap < 1 ? 1 : gap > most ? most : gap;
    moderation->position = position;
    moderation->time = now;
}

void
fm_moderation_fail(struct fm_moderation *moderation)
{
    if (moderation->gap == 1) {
        return;
    }
    moderation->gap = 1;
    moderation->held_off = 1U << moderation->failures;
    if (moderation->failures < FM_MODERATION_FAILURES) {
        moderation->failures++;
    }
}
