#include "placement.h"

#include "support.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct ring {
    struct fm_slots slots;
    struct fm_placement placement;
    void *memory;
};

static struct ring *
make_ring(uint64_t buffersize)
{
    static struct ring ring;
    uint64_t capacity = fm_slots_capacity(buffersize);
    size_t size = fm_slots_memory_size(capacity, false);
    ring.memory = aligned_alloc(FM_CACHE_LINE, size);
    CHECK(ring.memory != NULL);
    memset(ring.memory, 0, size);
    fm_slots_attach(&ring.slots, ring.memory, capacity, false, true);
    fm_slots_init(&ring.slots, buffersize, FM_UNKNOWN_TOTAL);
    CHECK_EQUAL(fm_placement_init(&ring.placement, capacity), 0);
    return &ring;
}

static void
drop_ring(struct ring *ring)
{
    fm_placement_fini(&ring->placement);
    free(ring->memory);
}

static uint64_t
feed(struct ring *ring, uint64_t number)
{
    uint64_t position = fm_placement_place(&ring->placement);
    fm_slots_argument(&ring->slots, position)->number = number;
    fm_slots_publish(&ring->slots, position);
    fm_slots_announce(&ring->slots, position + 1);
    return position;
}

static uint64_t
take(struct ring *ring)
{
    uint64_t position = FM_UNKNOWN_TOTAL;
    CHECK(fm_placement_find_done(&ring->placement, &ring->slots, &position));
    uint64_t number = fm_slots_number(&ring->slots, position);
    fm_placement_release(&ring->placement, position);
    return number;
}

static bool
finds_nothing(struct ring *ring)
{
    uint64_t position;
    return !fm_placement_find_done(&ring->placement, &ring->slots, &position);
}

/* An item that stays while a thousand pass: its slot is passed over, and it is found at last. */
static void
check_passing(void)
{
    struct ring *ring = make_ring(4);
    CHECK(finds_nothing(ring));
    uint64_t slow = feed(ring, 0);
    CHECK(fm_slots_claim(&ring->slots, slow, 7));
    for (uint64_t number = 1; number < 1000; number++) {
        uint64_t position = feed(ring, number);
        CHECK((position & 3) != (slow & 3));
        CHECK(finds_nothing(ring));
        CHECK(fm_slots_claim(&ring->slots, position, 1));
        fm_slots_complete(&ring->slots, position);
        CHECK_EQUAL(take(ring), number);
        CHECK(finds_nothing(ring));
    }
    uint64_t item;
    struct fm_slots_walk walk = fm_slots_walk(&ring->slots);
    CHECK(fm_slots_walk_to(&ring->slots, &walk, FM_SLOT_RUNNING, 7, &item));
    CHECK_EQUAL(item, slow);
    CHECK(!fm_slots_walk_to(&ring->slots, &walk, FM_SLOT_RUNNING, 7, &item));
    fm_slots_complete(&ring->slots, slow);
    CHECK_EQUAL(take(ring), 0);
    drop_ring(ring);
}

/* Done and not yet taken counts, also of slots that are passed over; what was taken does not. */
static void
check_count_done(void)
{
    struct ring *ring = make_ring(4);
    uint64_t slow = feed(ring, 0);
    CHECK(fm_slots_claim(&ring->slots, slow, 1));
    for (uint64_t number = 1; number < 10; number++) {
        uint64_t position = feed(ring, number);
        CHECK_EQUAL(fm_placement_count_done(&ring->placement, &ring->slots), 0);
        CHECK(fm_slots_claim(&ring->slots, position, 1));
        fm_slots_complete(&ring->slots, position);
        CHECK_EQUAL(fm_placement_count_done(&ring->placement, &ring->slots), 1);
        CHECK_EQUAL(take(ring), number);
    }
    CHECK_EQUAL(fm_placement_count_done(&ring->placement, &ring->slots), 0);
    fm_slots_complete(&ring->slots, slow);
    CHECK_EQUAL(fm_placement_count_done(&ring->placement, &ring->slots), 1);
    drop_ring(ring);
}

/* Items that nobody has claimed are found again, also those that others have passed. */
static void
check_rewind(void)
{
    struct ring *ring = make_ring(4);
    uint64_t begin;
    uint64_t left = feed(ring, 0);
    for (uint64_t number = 1; number < 20; number++) {
        uint64_t position = feed(ring, number);
        CHECK(fm_slots_claim(&ring->slots, position, 1));
        fm_slots_complete(&ring->slots, position);
        CHECK_EQUAL(take(ring), number);
    }
    while (fm_slots_reserve(&ring->slots, 8, &begin) > 0) {
    }
    CHECK(fm_slots_rewind(&ring->slots));
    CHECK_EQUAL(fm_slots_reserve(&ring->slots, 1, &begin), 1);
    CHECK_EQUAL(begin, left);
    CHECK(fm_slots_claim(&ring->slots, begin, 1));
    CHECK(!fm_slots_rewind(&ring->slots));
    CHECK(!fm_slots_is_overtaken(&ring->slots, left));
    drop_ring(ring);
}

/* ---- feeder, workers, consumer ---- */

#define WORKERS 3

struct shift {
    struct ring *ring;
    uint64_t items;
    fm_atomic_u64 taken;
    fm_atomic_u32 ended;
};

static void *
feed_all(void *argument)
{
    struct shift *shift = argument;
    uint64_t buffersize = shift->ring->slots.shared->buffersize;
    for (uint64_t number = 0; number < shift->items; number++) {
        while (number - fm_load_acquire(&shift->taken) >= buffersize) {
            (void)sched_yield();
        }
        (void)feed(shift->ring, number);
    }
    fm_placement_finish(&shift->ring->placement, shift->items);
    return NULL;
}

/* Holds on to some items for long. */
static void *
work(void *argument)
{
    struct shift *shift = argument;
    struct fm_slots *slots = &shift->ring->slots;
    uint64_t seed = (uint64_t)fm_clock_now();
    uint64_t held = FM_UNKNOWN_TOTAL;
    while (!fm_load_acquire(&shift->ended)) {
        uint64_t begin;
        if (fm_slots_reserve(slots, 1, &begin) == 1 && fm_slots_claim(slots, begin, 1)) {
            fm_slots_at(slots, begin)->value.as.integer =
                (int64_t)fm_slots_number(slots, begin) * 3;
            if (held == FM_UNKNOWN_TOTAL && test_random(&seed) % 16 == 0) {
                held = begin;
            } else {
                fm_slots_complete(slots, begin);
            }
        } else {
            (void)sched_yield();
        }
        if (held != FM_UNKNOWN_TOTAL && test_random(&seed) % 64 == 0) {
            fm_slots_complete(slots, held);
            held = FM_UNKNOWN_TOTAL;
        }
    }
    return NULL;
}

static void
consume_all(struct shift *shift, bool *seen)
{
    struct ring *ring = shift->ring;
    for (uint64_t taken = 0; taken < shift->items;) {
        uint64_t position;
        if (!fm_placement_find_done(&ring->placement, &ring->slots, &position)) {
            (void)sched_yield();
            continue;
        }
        uint64_t number = fm_slots_number(&ring->slots, position);
        CHECK_EQUAL(fm_slots_at(&ring->slots, position)->value.as.integer, (int64_t)number * 3);
        CHECK(number < shift->items && !seen[number]);
        seen[number] = true;
        fm_placement_release(&ring->placement, position);
        fm_store_release(&shift->taken, ++taken);
    }
}

static void
check_together(uint64_t buffersize)
{
    pthread_t threads[WORKERS + 1];
    struct shift shift = {.ring = make_ring(buffersize), .items = CHECK_SCALED(20000)};
    bool *seen = calloc(shift.items, sizeof *seen);
    CHECK(seen != NULL);
    for (unsigned i = 0; i < WORKERS; i++) {
        threads[i] = test_thread(work, &shift);
    }
    threads[WORKERS] = test_thread(feed_all, &shift);
    consume_all(&shift, seen);
    test_join_thread(threads[WORKERS]);
    CHECK_EQUAL(fm_load_acquire(&shift.ring->placement.total), shift.items);
    fm_store_release(&shift.ended, 1);
    for (unsigned i = 0; i < WORKERS; i++) {
        test_join_thread(threads[i]);
    }
    free(seen);
    drop_ring(shift.ring);
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_passing();
    check_count_done();
    check_rewind();
    check_together(4);
    check_together(5);
    check_together(100);
    return 0;
}
