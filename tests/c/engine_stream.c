#include "engine_stream.h"

#include "engine_value.h"

#include <poll.h>

/* ---- feeder ---- */

static void
feeder_wait(struct engine *engine, uint64_t published)
{
    struct fm_slots *slots = &engine->board.slots;
    struct fm_doorbell *bell = &slots->shared->feeder;
    uint64_t gap = 1 + test_random(&engine->seed) % slots->shared->buffersize;
    fm_slots_await_room(slots);
    uint32_t ticket = fm_doorbell_arm(bell, published - slots->shared->buffersize + gap);
    if (fm_slots_room(slots, published) >= gap) {
        fm_doorbell_disarm(bell);
    } else {
        (void)fm_doorbell_wait(bell, ticket, FM_FOREVER);
    }
    fm_slots_end_await_room(slots);
}

static bool
publish_burst(struct engine *engine, uint64_t first, uint64_t count)
{
    struct fm_slots *slots = &engine->board.slots;
    for (uint64_t item = first; item < first + count; item++) {
        struct fm_value value;
        if (!engine_store(engine, item, engine_argument(item), &value)) {
            return false;
        }
        fm_slots_argument(slots, item)->value = value;
        fm_slots_publish(slots, item);
    }
    fm_slots_announce(slots, first + count);
    fm_board_call_workers(&engine->board, count);
    watch_touch();
    return true;
}

static uint64_t
unfinished_item(const struct fm_slots *slots)
{
    return fm_slots_next_unfinished(slots, fm_load_relaxed(&slots->shared->consumed));
}

/* Before the item `pause_at` all threads get idle; from there on everything comes at once. */
static uint64_t
choose_burst(struct engine *engine, uint64_t published)
{
    struct engine_options *options = &engine->options;
    struct fm_slots *slots = &engine->board.slots;
    uint64_t most = options->burst > 0 ? options->burst : 16;
    if (options->payload > 0) {
        most = 1; /* one that waits for space must not hold back those before it */
    }
    uint64_t end = options->items;
    uint64_t count = 1 + test_random(&engine->seed) % most;
    if (options->pause_at > published) {
        end = options->pause_at;
    } else if (options->pause_at > 0) {
        while (options->pause > 0 && unfinished_item(slots) < published) {
            test_sleep(FM_MILLISECOND);
        }
        test_sleep(options->pause);
        count = end - published;
    }
    return count < end - published ? count : end - published;
}

void
engine_finish(struct engine *engine)
{
    struct fm_slots *slots = &engine->board.slots;
    fm_slots_finish(slots, engine->options.items);
    fm_roster_call_all(&engine->board.roster);
    fm_slots_ring_consumer(slots);
}

void *
engine_feed(void *argument)
{
    struct engine *engine = argument;
    uint64_t published = 0;
    while (published < engine->options.items) {
        uint64_t room = fm_slots_room(&engine->board.slots, published);
        if (fm_load_acquire(&engine->board.slots.shared->ended)) {
            return NULL;
        }
        if (room == 0) {
            feeder_wait(engine, published);
            continue;
        }
        uint64_t count = choose_burst(engine, published);
        count = count < room ? count : room;
        if (!publish_burst(engine, published, count)) {
            return NULL;
        }
        published += count;
        if (engine->options.dawdles) {
            test_dawdle(&engine->seed);
        }
        if (engine->options.burst_pause > 0) {
            test_sleep(engine->options.burst_pause);
        }
    }
    if (!engine->options.stays_open) {
        engine_finish(engine);
    }
    return NULL;
}

/* ---- consumer ---- */

/* Threads have no monitor; and where a test doesn't foresee it, it shall hang. */
static bool
is_hopeless(struct engine *engine)
{
    return engine->options.may_fail && fm_monitor_is_deserted(&engine->monitor);
}

/* Without a slice: a wake-up that is lost fails. */
static void
await_readable(struct engine *engine, uint64_t item)
{
    struct fm_slots *slots = &engine->board.slots;
    struct pollfd watched = {.fd = slots->consumer_fd, .events = POLLIN};
    fm_slots_arm_consumer_fd(slots, item);
    if (!fm_slots_is_done(slots, item) && fm_load_acquire(&slots->shared->total) > item) {
        CHECK_EQUAL(poll(&watched, 1, 10000), 1);
    }
}

static void
await_result(struct engine *engine, uint64_t item)
{
    if (engine->options.polls) {
        await_readable(engine, item);
        return;
    }
    struct fm_slots *slots = &engine->board.slots;
    struct fm_doorbell *bell = &slots->shared->consumer;
    uint64_t gap = engine->moderation.gap;
    uint64_t last = fm_slots_item_to_await(slots, item, gap);
    uint32_t ticket = fm_doorbell_arm(bell, last);
    if (fm_slots_is_done(slots, item) || fm_slots_is_done(slots, last)
        || fm_load_acquire(&slots->shared->total) <= item || is_hopeless(engine)) {
        fm_doorbell_disarm(bell);
        return;
    }
    int result = fm_doorbell_wait(bell, ticket, last > item ? FM_MODERATION_DELAY : FM_FOREVER);
    if (result != 0 && last > item) {
        fm_moderation_fail(&engine->moderation);
    }
    fm_moderation_update(&engine->moderation, item, 64);
}

static void
check_value(struct engine *engine, uint64_t item, const struct fm_value *value)
{
    uint32_t runs = fm_load_relaxed(&engine->shared->runs[item]);
    CHECK(runs <= 1 + engine->options.retries || engine->options.repeats);
    if (value->outcome == FM_OUTCOME_OVERDUE) {
        engine->overdue++;
        return;
    }
    if (value->outcome == FM_OUTCOME_CRASHED) {
        CHECK(value->as.crash.exit_code != CHECK_FAILED);
        engine->crashed++;
        return;
    }
    CHECK(runs >= 1);
    CHECK_EQUAL(value->outcome, FM_OUTCOME_RESULT);
    CHECK_EQUAL(engine_load(engine, value), engine_result(item));
}

static void
give_back(struct engine *engine, uint64_t item, const struct fm_value *value)
{
    struct fm_slots *slots = &engine->board.slots;
    fm_board_drop(&engine->board, value);
    if (slots->arguments != NULL) {
        fm_board_drop(&engine->board, &fm_slots_argument(slots, item)->value);
    }
}

bool
engine_next(struct engine *engine, struct fm_value *value)
{
    struct fm_slots *slots = &engine->board.slots;
    uint64_t item = engine->next;
    while (!fm_slots_is_done(slots, item)) {
        if (fm_load_acquire(&slots->shared->total) <= item) {
            return false;
        }
        if (is_hopeless(engine) && !fm_slots_is_done(slots, item)) {
            return false;
        }
        fm_board_consumed(&engine->board, item);
        await_result(engine, item);
    }
    *value = fm_slots_at(slots, item)->value;
    check_value(engine, item, value);
    give_back(engine, item, value);
    engine->next++;
    fm_board_consumed_one(&engine->board, engine->next);
    watch_touch();
    return true;
}

void
engine_drain(struct engine *engine)
{
    struct fm_value value;
    uint64_t seed = 12345;
    while (engine_next(engine, &value)) {
        if (engine->options.dawdles) {
            test_dawdle(&seed);
        }
    }
    CHECK(engine->next == engine->options.items || is_hopeless(engine));
}
