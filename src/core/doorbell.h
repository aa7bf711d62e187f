/* Sleeping until a position is reached, and waking a sleeper no oftener than it needs.
 *
 * One thread waits at a doorbell at a time; any thread of any process may ring it. The waiter says
 * which position it waits for; whoever brings that about rings, and only then. The order on both
 * sides is Dekker's: the waiter arms and looks at its condition again before it sleeps, the ringer
 * brings the condition about, passes a full fence, and looks whether the doorbell is armed.
 *
 * A ringer that is killed between its compare-and-swap and its wake loses the ring, so a waiter
 * never sleeps longer than FM_DOORBELL_SLICE without looking for itself.
 */
#ifndef FM_DOORBELL_H
#define FM_DOORBELL_H

#include "atomic.h"
#include "clock.h"
#include "futex.h"

#include <stdbool.h>

#define FM_NOBODY UINT64_MAX
#define FM_DOORBELL_SLICE (250 * FM_MILLISECOND)

struct fm_doorbell {
    /* The position waited for. Set by the waiter (seq_cst), taken down by the waiter or by the one
     * ringer that wins the compare-and-swap. FM_NOBODY while nobody waits. */
    fm_atomic_u64 wanted;
    /* Counts rings; the futex word. Written by ringers, read by the waiter. */
    fm_atomic_u32 rings;
};

void fm_doorbell_init(struct fm_doorbell *bell);

/* Waiter: announces that `wanted` is waited for and returns the ticket for fm_doorbell_wait.
 * The condition must be looked at again between the two. */
uint32_t fm_doorbell_arm(struct fm_doorbell *bell, uint64_t wanted);

/* Waiter: sleeps until rung or for `timeout_ns`, and no longer than a slice; takes the
 * announcement down. 0, -EAGAIN, -ETIMEDOUT or -EINTR, as fm_futex_wait. */
int fm_doorbell_wait(struct fm_doorbell *bell, uint32_t ticket, int64_t timeout_ns);

/* Waiter: takes the announcement down without having slept. */
void fm_doorbell_disarm(struct fm_doorbell *bell);

/* Ringer, after a full fence: the position waited for now. */
static inline uint64_t
fm_doorbell_wanted(struct fm_doorbell *bell)
{
    return fm_load_relaxed(&bell->wanted);
}

/* Ringer: wakes the waiter if it still waits for `wanted`; false if somebody else woke it. */
bool fm_doorbell_answer(struct fm_doorbell *bell, uint64_t wanted);

/* Wakes the waiter whatever it waits for, and one that is about to sleep: for endings. */
void fm_doorbell_ring(struct fm_doorbell *bell);

/* Interrupt moderation, private to the waiter. Where positions pass quickly it is cheaper to be
 * woken for the n-th next than for each; where they pass slowly each is worth a wake. Where each is
 * only brought about by the one before it, as in a conversation, waiting for two takes the whole
 * delay: such attempts get rarer with every one that fails. */
struct fm_moderation {
    uint64_t position; /* where the last wait ended */
    int64_t time;      /* and when */
    uint64_t gap;      /* how many positions to let pass, 1 for none */
    unsigned failures; /* in a row, up to FM_MODERATION_FAILURES */
    unsigned held_off; /* waits before the next attempt */
};

/* After so many failures every 64th wait is an attempt. */
#define FM_MODERATION_FAILURES 6

/* How long a moderated wait may keep a position that is ready from its waiter. */
#define FM_MODERATION_DELAY (200 * FM_MICROSECOND)

void fm_moderation_init(struct fm_moderation *moderation);

/* A wait has ended with the waiter at `position`: works out the next gap, from 1 to `most`. */
void fm_moderation_update(struct fm_moderation *moderation, uint64_t position, uint64_t most);

/* A moderated wait ran into its delay before two positions had passed: the next ones are for the very
 * next position. */
void fm_moderation_fail(struct fm_moderation *moderation);

#endif
