#include "slots.h"

#include <sys/eventfd.h>

#define ROOM_STEP_MOST 16
#define ROOM_STEP_PART 64

_Static_assert(sizeof(struct fm_slot) == FM_CACHE_LINE, "a slot is one cache line");
_Static_assert(sizeof(struct fm_argument) == FM_CACHE_LINE, "an argument is one cache line");

uint64_t
fm_slots_capacity(uint64_t buffersize)
{
    uint64_t capacity = 1;
    while (capacity < buffersize) {
        capacity *= 2;
    }
    return capacity;
}

size_t
fm_slots_memory_size(uint64_t capacity, bool inherited)
{
    size_t each = sizeof(struct fm_slot) + (inherited ? 0 : sizeof(struct fm_argument));
    return sizeof(struct fm_slots_shared) + (size_t)capacity * each;
}

void
fm_slots_attach(struct fm_slots *slots, void *memory, uint64_t capacity, bool inherited,
                bool unordered)
{
    slots->shared = memory;
    slots->slots = (struct fm_slot *)(slots->shared + 1);
    slots->arguments = inherited ? NULL : (struct fm_argument *)(slots->slots + capacity);
    slots->mask = capacity - 1;
    slots->shift = (unsigned)__builtin_ctzll(capacity);
    slots->unordered = unordered;
    slots->consumer_fd = -1;
}

/* Where the ring is large, nobody waits for the room of a few items: a power of two, less 1. */
static uint64_t
choose_room_mask(uint64_t buffersize)
{
    uint64_t step = ROOM_STEP_MOST;
    while (step > 1 && step > buffersize / ROOM_STEP_PART) {
        step /= 2;
    }
    return step - 1;
}

void
fm_slots_init(struct fm_slots *slots, uint64_t buffersize, uint64_t total)
{
    struct fm_slots_shared *shared = slots->shared;
    slots->room_mask = choose_room_mask(buffersize);
    shared->buffersize = buffersize;
    fm_store_relaxed(&shared->published, slots->arguments == NULL ? total : 0);
    fm_store_relaxed(&shared->total, total);
    fm_doorbell_init(&shared->consumer);
    fm_doorbell_init(&shared->feeder);
}

uint64_t
fm_slots_room(const struct fm_slots *slots, uint64_t published)
{
    /* Pairs with the release in fm_slots_set_consumed. */
    return fm_load_acquire(&slots->shared->consumed) + slots->shared->buffersize - published;
}

void
fm_slots_publish(struct fm_slots *slots, uint64_t item)
{
    fm_store_release(&fm_slots_at(slots, item)->state,
                     fm_slots_word(slots, item, FM_SLOT_READY, 0));
}

void
fm_slots_publish_done(struct fm_slots *slots, uint64_t item)
{
    fm_slots_complete(slots, item);
}

void
fm_slots_announce(struct fm_slots *slots, uint64_t count)
{
    fm_store_release(&slots->shared->published, count);
}

void
fm_slots_finish(struct fm_slots *slots, uint64_t total)
{
    fm_store_release(&slots->shared->total, total);
    fm_slots_announce(slots, total);
}

uint64_t
fm_slots_reserve(struct fm_slots *slots, uint64_t most, uint64_t *begin)
{
    uint64_t limit = fm_slots_limit(slots);
    uint64_t cursor = fm_load_relaxed(&slots->shared->cursor);
    while (cursor < limit) {
        uint64_t count = limit - cursor < most ? limit - cursor : most;
        if (fm_cas_relaxed(&slots->shared->cursor, &cursor, cursor + count)) {
            *begin = cursor;
            return count;
        }
    }
    return 0;
}

static void
signal_consumer_fd(const struct fm_slots *slots)
{
    if (fm_load_seq_cst(&slots->shared->consumer_polls) != 0) {
        (void)eventfd_write(slots->consumer_fd, 1);
    }
}

void
fm_slots_wake_consumer(struct fm_slots *slots, uint64_t awaited)
{
    if (fm_doorbell_answer(&slots->shared->consumer, awaited)) {
        signal_consumer_fd(slots);
    }
}

void
fm_slots_ring_consumer(struct fm_slots *slots)
{
    fm_doorbell_ring(&slots->shared->consumer);
    fm_fence_seq_cst();
    signal_consumer_fd(slots);
}

/* The first position of a walk: from there on each slot in use comes by once. */
static uint64_t
walk_start(const struct fm_slots *slots, uint64_t limit)
{
    uint64_t capacity = slots->mask + 1;
    if (!slots->unordered) {
        return fm_load_acquire(&slots->shared->consumed);
    }
    return limit > capacity ? limit - capacity : 0;
}

/* The item that a state word speaks of, if it isn't done: the slot's, whatever came by. */
static uint64_t
item_of(const struct fm_slots *slots, uint64_t state, uint64_t passing)
{
    uint64_t round = state / FM_ROUND_STEP;
    return (round - 1) << slots->shift | (passing & slots->mask);
}

static enum fm_slot_phase
phase_of(uint64_t state)
{
    return (enum fm_slot_phase)(state & 3);
}

/* The first item that may be claimed, or `limit`. */
static uint64_t
first_claimable(const struct fm_slots *slots, uint64_t limit)
{
    uint64_t first = limit;
    for (uint64_t item = walk_start(slots, limit); item < limit; item++) {
        uint64_t state = fm_load_relaxed(&fm_slots_at(slots, item)->state);
        if (!slots->unordered && state == fm_slots_claimable_word(slots, item)) {
            return item;
        }
        if (slots->unordered && phase_of(state) == FM_SLOT_READY
            && item_of(slots, state, item) < first) {
            first = item_of(slots, state, item);
        }
    }
    return first;
}

/* A claim may be lost to the race with this, never made twice: both go through the slot. */
bool
fm_slots_rewind(struct fm_slots *slots)
{
    uint64_t cursor = fm_load_relaxed(&slots->shared->cursor);
    uint64_t limit = fm_slots_limit(slots);
    uint64_t item = first_claimable(slots, limit);
    if (item >= limit) {
        return false;
    }
    /* Whoever moves the cursor on meanwhile doesn't come by the item again. */
    while (item < cursor && !fm_cas_relaxed(&slots->shared->cursor, &cursor, item)) {
    }
    return true;
}

uint64_t
fm_slots_item_to_await(const struct fm_slots *slots, uint64_t item, uint64_t gap)
{
    uint64_t buffersize = slots->shared->buffersize;
    uint64_t total = fm_load_relaxed(&slots->shared->total);
    uint64_t end = item + (gap < buffersize ? gap : buffersize);
    if (total <= item) {
        return item;
    }
    uint64_t last = (end < total ? end : total) - 1;
    while (last > item && fm_slots_is_done(slots, last)) {
        last--;
    }
    return last;
}

uint64_t
fm_slots_count_done(const struct fm_slots *slots, uint64_t item)
{
    uint64_t limit = fm_slots_limit(slots);
    uint64_t count = 0;
    for (; item < limit; item++) {
        count += fm_slots_is_done(slots, item);
    }
    return count;
}

void
fm_slots_arm_consumer_fd(struct fm_slots *slots, uint64_t awaited)
{
    eventfd_t rings;
    /* What was rung before is seen by the look that follows. */
    (void)eventfd_read(slots->consumer_fd, &rings);
    fm_store_seq_cst(&slots->shared->consumer_polls, 1);
    (void)fm_doorbell_arm(&slots->shared->consumer, awaited);
}

struct fm_slots_walk
fm_slots_walk(const struct fm_slots *slots)
{
    uint64_t limit = fm_slots_limit(slots);
    return (struct fm_slots_walk){.next = walk_start(slots, limit), .end = limit};
}

bool
fm_slots_walk_to(const struct fm_slots *slots, struct fm_slots_walk *walk, enum fm_slot_phase phase,
                 uint32_t worker, uint64_t *item)
{
    uint64_t wanted = (uint64_t)worker << 2 | (uint64_t)phase;
    while (walk->next < walk->end) {
        uint64_t passing = walk->next++;
        /* Pairs with the release in fm_slots_complete, so that what was finished counts. */
        uint64_t state = fm_load_acquire(&fm_slots_at(slots, passing)->state);
        if (state % FM_ROUND_STEP == wanted) {
            *item = item_of(slots, state, passing);
            return true;
        }
    }
    return false;
}

bool
fm_slots_are_run_by(const struct fm_slots *slots, uint32_t worker)
{
    uint64_t item;
    struct fm_slots_walk walk = fm_slots_walk(slots);
    return fm_slots_walk_to(slots, &walk, FM_SLOT_RUNNING, worker, &item);
}

void
fm_slots_mark_retry(struct fm_slots *slots, uint64_t item, uint32_t worker)
{
    fm_store_release(&fm_slots_at(slots, item)->state,
                     fm_slots_word(slots, item, FM_SLOT_RETRY, worker));
}

void
fm_slots_unclaim(struct fm_slots *slots, uint64_t item)
{
    fm_store_release(&fm_slots_at(slots, item)->state, fm_slots_claimable_word(slots, item));
}

bool
fm_slots_claim_retry(struct fm_slots *slots, uint32_t worker, uint64_t *item)
{
    uint64_t found;
    struct fm_slots_walk walk = fm_slots_walk(slots);
    if (!fm_slots_walk_to(slots, &walk, FM_SLOT_RETRY, worker, &found)) {
        return false;
    }
    uint64_t expected = fm_slots_word(slots, found, FM_SLOT_RETRY, worker);
    *item = found;
    return fm_cas_seq_cst(&fm_slots_at(slots, found)->state, &expected,
                          fm_slots_word(slots, found, FM_SLOT_RUNNING, worker));
}

uint64_t
fm_slots_next_unfinished(const struct fm_slots *slots, uint64_t from)
{
    uint64_t limit = fm_slots_limit(slots);
    for (uint64_t item = from; item < limit; item++) {
        if (!fm_slots_is_done(slots, item)) {
            return item;
        }
    }
    return FM_UNKNOWN_TOTAL;
}
