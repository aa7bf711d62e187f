#include "board.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static struct fm_board *
make_board(unsigned workers, bool inherited, uint64_t total, uint64_t arena_limit)
{
    static struct fm_board board;
    struct fm_board_options options = {
        .workers = workers,
        .buffersize = 5,
        .inherited = inherited,
        .total = total,
        .arena_limit = arena_limit,
    };
    CHECK_EQUAL(fm_board_map(&board, &options, NULL), 0);
    return &board;
}

static struct fm_board *
make_fed_board(void)
{
    return make_board(2, false, FM_UNKNOWN_TOTAL, 10000);
}

/* The parts lie side by side, each on cache lines of its own. */
static void
check_layout(void)
{
    struct fm_board *board = make_board(3, false, FM_UNKNOWN_TOTAL, 10000);
    char *memory = board->memory;
    char *roster_end = (char *)(board->roster.last_words + 3);
    char *slots_end = (char *)(board->slots.arguments + 8);
    CHECK((char *)board->roster.entries >= memory);
    CHECK(roster_end <= (char *)board->slots.shared);
    CHECK(slots_end <= memory + board->size);
    CHECK_EQUAL((uintptr_t)board->slots.shared % FM_CACHE_LINE, 0);
    CHECK_EQUAL((uintptr_t)board->slots.slots % FM_CACHE_LINE, 0);
    CHECK_EQUAL(board->slots.mask, 7);
    CHECK_EQUAL(board->slots.shared->buffersize, 5);
    CHECK_EQUAL(board->roster.count, 3);
    CHECK_EQUAL(board->arena.heap_count, 4);
    memset(board->slots.arguments, 'x', 8 * sizeof *board->slots.arguments);
    CHECK_EQUAL(fm_load_relaxed(&board->roster.entries[2].alive), 1);
    fm_board_unmap(board);
}

/* What a process does that did not inherit the board: it sees the same ring, roster and arena. */
static void
check_attached(void)
{
    struct fm_board parent;
    struct fm_board worker;
    struct fm_board_fds fds;
    struct fm_heap heap;
    struct fm_value value = {0};
    void *bytes;
    struct fm_board_options options = {.workers = 3,
                                       .buffersize = 5,
                                       .inherited = false,
                                       .total = FM_UNKNOWN_TOTAL,
                                       .arena_limit = 10000};
    CHECK_EQUAL(fm_board_map(&parent, &options, &fds), 0);
    struct fm_board_fds sent = {
        .board = fds.board, .arena = dup(fds.arena), .consumer = dup(fds.consumer)};
    CHECK_EQUAL(fm_board_attach(&worker, &options, &sent), 0);
    CHECK_EQUAL(close(fds.board), 0);
    CHECK(worker.memory != parent.memory && worker.arena.heaps != parent.arena.heaps);
    CHECK_EQUAL(worker.slots.shared->buffersize, 5);
    CHECK_EQUAL(worker.slots.mask, 7);
    CHECK_EQUAL(fm_load_relaxed(&worker.roster.entries[2].alive), 1);
    CHECK_EQUAL(worker.arena.heap_size, parent.arena.heap_size);
    fm_heap_init(&heap, &worker.arena, 3);
    CHECK_EQUAL(fm_board_reserve(&worker, &heap, 0, 5000, &value, &bytes), FM_STORE_DONE);
    memset(bytes, 'z', 5000);
    CHECK_EQUAL(((const char *)fm_arena_bytes(&parent.arena, value.as.block.offset))[4999], 'z');
    CHECK_EQUAL(fm_board_reserve(&worker, &heap, 1, 5001, &value, &bytes), FM_STORE_FULL);
    fm_heap_fini(&heap);
    fm_board_unmap(&worker);
    fm_board_unmap(&parent);
    CHECK_EQUAL(fm_board_attach(&worker, &options, &fds), -EBADF);
}

static void
check_unmapped(void)
{
    unsigned char there;
    struct fm_board *board = make_fed_board();
    void *memory = board->memory;
    void *arena = board->arena.shared;
    int consumer_fd = board->slots.consumer_fd;
    CHECK(fcntl(consumer_fd, F_GETFD) >= 0);
    fm_board_unmap(board);
    CHECK_EQUAL(fcntl(consumer_fd, F_GETFD), -1);
    CHECK_EQUAL(mincore(memory, 1, &there), -1);
    CHECK_EQUAL(mincore(arena, 1, &there), -1);
}

/* No descriptor for the consumer: then nothing stays. */
static void
check_no_descriptor(void)
{
    struct fm_board board;
    struct fm_board_fds fds;
    struct fm_board_options options = {
        .workers = 1, .buffersize = 5, .total = FM_UNKNOWN_TOTAL, .arena_limit = 10000};
    struct rlimit before;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    CHECK_EQUAL(close(next), 0);
    for (int left = 0; left < 3; left++) {
        struct rlimit few = {.rlim_cur = (rlim_t)(next + left), .rlim_max = before.rlim_max};
        CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &few), 0);
        CHECK_EQUAL(fm_board_map(&board, &options, &fds), -EMFILE);
        CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
        for (int fd = next; fd < next + left; fd++) {
            CHECK_EQUAL(fcntl(fd, F_GETFD), -1);
        }
    }
}

static void
check_refused(void)
{
    struct fm_board board;
    static const struct fm_board_options refused[] = {
        {.workers = 1, .buffersize = 0},
        {.workers = 1, .buffersize = FM_MAX_CAPACITY + 1},
        {.workers = 1, .buffersize = UINT64_MAX},
        {.workers = FM_MAX_WORKERS + 1, .buffersize = 1},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        CHECK_EQUAL(fm_board_map(&board, &refused[i], NULL), -EINVAL);
    }
    struct fm_board_options largest = {
        .workers = FM_MAX_WORKERS, .buffersize = FM_MAX_CAPACITY, .total = FM_UNKNOWN_TOTAL};
    CHECK_EQUAL(fm_board_map(&board, &largest, NULL), 0);
    fm_board_unmap(&board);
}

/* ---- payloads ---- */

static void
check_stored(struct fm_board *board, struct fm_heap *heap, uint64_t size)
{
    struct fm_value value = {.outcome = FM_OUTCOME_RESULT};
    void *bytes;
    uint64_t found;
    CHECK_EQUAL(fm_board_reserve(board, heap, 0, size, &value, &bytes), FM_STORE_DONE);
    CHECK_EQUAL(value.form, size <= FM_INLINE_SIZE ? FM_FORM_INLINE : FM_FORM_BLOCK);
    memset(bytes, 'z', size);
    CHECK(fm_board_bytes(board, &value, &found) == bytes);
    CHECK_EQUAL(found, size);
    CHECK_EQUAL(value.outcome, FM_OUTCOME_RESULT);
    fm_board_drop(board, &value);
    CHECK(fm_arena_has_space(&board->arena, 0, board->arena.limit));
}

static void
check_payloads(void)
{
    static const uint64_t sizes[] = {0, 1, 47, 48, 49, 64, 256, 257, 9000};
    struct fm_heap heap;
    struct fm_board *board = make_fed_board();
    fm_heap_init(&heap, &board->arena, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_stored(board, &heap, sizes[i]);
    }
    fm_heap_fini(&heap);
    fm_board_unmap(board);
}

/* Beyond the limit only the head of the order gets its way; what no heap can hold nobody. */
static void
check_full(void)
{
    struct fm_heap heap;
    struct fm_value value;
    struct fm_value second;
    void *bytes;
    struct fm_board *board = make_fed_board();
    fm_heap_init(&heap, &board->arena, 2);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 3, 8000, &value, &bytes), FM_STORE_DONE);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 3, 8000, &second, &bytes), FM_STORE_FULL);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 3, 48, &second, &bytes), FM_STORE_DONE);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 0, 8000, &second, &bytes), FM_STORE_DONE);
    fm_board_drop(board, &second);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 3, 8000, &second, &bytes), FM_STORE_FULL);
    fm_slots_set_consumed(&board->slots, 3);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 3, 8000, &second, &bytes), FM_STORE_DONE);
    fm_board_drop(board, &second);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 3, UINT64_MAX / 2, &second, &bytes),
                FM_STORE_TOO_LARGE);
    fm_board_drop(board, &value);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 4, 8000, &value, &bytes), FM_STORE_DONE);
    fm_heap_fini(&heap);
    fm_board_unmap(board);
}

/* ---- who is woken by what ---- */

struct wait {
    struct fm_board *board;
    struct fm_heap *heap;
    uint64_t item;
    uint64_t size;
    fm_atomic_u32 begun;
    fm_atomic_u32 result; /* of fm_board_await_space, plus 1 */
};

static void *
await_space(void *argument)
{
    struct wait *wait = argument;
    fm_store_release(&wait->begun, 1);
    bool result = fm_board_await_space(wait->board, wait->heap, wait->item, wait->size);
    fm_store_release(&wait->result, result + 1);
    return NULL;
}

enum event { EVENT_RETURN, EVENT_HEAD, EVENT_END };

/* A wait for space ends by what ends it, not by its slice. */
static void
check_await(void *argument)
{
    enum event event = *(enum event *)argument;
    struct fm_heap heap;
    struct fm_value value;
    void *bytes;
    struct fm_board *board = make_fed_board();
    struct wait wait = {.board = board, .heap = &heap, .item = 3, .size = 8000};
    fm_heap_init(&heap, &board->arena, 1);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 1, 8000, &value, &bytes), FM_STORE_DONE);
    int64_t start = fm_clock_now();
    pthread_t thread = test_thread(await_space, &wait);
    while (fm_load_relaxed(&board->arena.shared->space_waiters) == 0) {
        test_check_quick(start, FM_DOORBELL_SLICE);
        test_sleep(FM_MILLISECOND);
    }
    test_sleep(10 * FM_MILLISECOND);
    uint32_t result = fm_load_acquire(&wait.result);
    test_check_quick(start, FM_DOORBELL_SLICE); /* which may have ended otherwise */
    CHECK_EQUAL(result, 0);
    start = fm_clock_now();
    if (event == EVENT_RETURN) {
        fm_board_drop(board, &value);
    } else if (event == EVENT_HEAD) {
        fm_board_consumed(board, 3);
    } else {
        fm_board_end(board);
    }
    test_join_thread(thread);
    CHECK_EQUAL(fm_load_acquire(&wait.result), event == EVENT_END ? 1 : 2);
    test_check_quick(start, FM_DOORBELL_SLICE / 2);
    CHECK_EQUAL(fm_load_relaxed(&board->arena.shared->space_waiters), 0);
    fm_heap_fini(&heap);
    fm_board_unmap(board);
}

/* Unserved, it looks for itself after a slice; served already, it doesn't sleep. */
static void
check_await_slices(void *ignored)
{
    struct fm_heap heap;
    struct fm_value value;
    void *bytes;
    (void)ignored;
    struct fm_board *board = make_fed_board();
    fm_heap_init(&heap, &board->arena, 1);
    int64_t start = fm_clock_now();
    CHECK(fm_board_await_space(board, &heap, 3, 8000));
    test_check_quick(start, FM_DOORBELL_SLICE / 2);
    CHECK_EQUAL(fm_board_reserve(board, &heap, 1, 8000, &value, &bytes), FM_STORE_DONE);
    start = fm_clock_now();
    CHECK(fm_board_await_space(board, &heap, 3, 8000));
    CHECK(fm_clock_now() - start >= FM_DOORBELL_SLICE);
    fm_board_end(board);
    start = fm_clock_now();
    CHECK(!fm_board_await_space(board, &heap, 3, 8000));
    test_check_quick(start, FM_DOORBELL_SLICE / 2);
    fm_heap_fini(&heap);
    fm_board_unmap(board);
}

/* Without an order no result may wait for an argument: only for results, which can be taken. */
static void
check_unordered_space(void)
{
    struct fm_board board;
    struct fm_heap parents;
    struct fm_heap workers;
    struct fm_value argument = {0};
    struct fm_value result = {0};
    struct fm_value more = {0};
    void *bytes;
    struct fm_board_options options = {.workers = 1,
                                       .buffersize = 8,
                                       .unordered = true,
                                       .total = FM_UNKNOWN_TOTAL,
                                       .arena_limit = 10000};
    CHECK_EQUAL(fm_board_map(&board, &options, NULL), 0);
    fm_heap_init(&parents, &board.arena, 0);
    fm_heap_init(&workers, &board.arena, 1);
    for (uint64_t item = 0; item < 8; item++) {
        fm_slots_argument(&board.slots, item)->number = item;
    }
    /* The first argument passes whatever its size, the next has to wait. */
    CHECK_EQUAL(fm_board_reserve(&board, &parents, 0, 20000, &argument, &bytes), FM_STORE_DONE);
    CHECK_EQUAL(fm_board_reserve(&board, &parents, 1, 100, &more, &bytes), FM_STORE_FULL);
    CHECK_EQUAL(fm_board_reserve(&board, &workers, 5, 30000, &result, &bytes), FM_STORE_DONE);
    CHECK_EQUAL(fm_board_reserve(&board, &workers, 0, 100, &more, &bytes), FM_STORE_FULL);
    fm_board_drop(&board, &result);
    CHECK_EQUAL(fm_board_reserve(&board, &workers, 6, 100, &more, &bytes), FM_STORE_DONE);
    fm_heap_fini(&parents);
    fm_heap_fini(&workers);
    fm_board_unmap(&board);
}

static uint64_t
wanted_by_worker(struct fm_board *board, unsigned worker)
{
    return fm_doorbell_wanted(&board->roster.entries[worker].work);
}

static void
check_consumed_wakes_feeder(void)
{
    struct fm_board *board = make_fed_board();
    struct fm_doorbell *feeder = &board->slots.shared->feeder;
    (void)fm_doorbell_arm(&board->roster.entries[0].work, 1);
    (void)fm_doorbell_arm(feeder, 1);
    fm_board_consumed(board, 1); /* nobody has said that it waits, so nobody looks */
    CHECK_EQUAL(fm_doorbell_wanted(feeder), 1);
    fm_slots_await_room(&board->slots);
    (void)fm_doorbell_arm(feeder, 3);
    fm_board_consumed(board, 2);
    CHECK_EQUAL(fm_load_relaxed(&board->slots.shared->consumed), 2);
    CHECK_EQUAL(fm_doorbell_wanted(feeder), 3);
    fm_board_consumed(board, 4);
    CHECK_EQUAL(fm_doorbell_wanted(feeder), FM_NOBODY);
    (void)fm_doorbell_arm(feeder, 6);
    fm_board_consumed_one(board, 5);
    CHECK_EQUAL(fm_doorbell_wanted(feeder), 6);
    fm_board_consumed_one(board, 6);
    CHECK_EQUAL(fm_doorbell_wanted(feeder), FM_NOBODY);
    CHECK_EQUAL(fm_load_relaxed(&feeder->rings), 2);
    /* That is the feeder's affair; workers have nothing new yet. */
    CHECK_EQUAL(wanted_by_worker(board, 0), 1);
    fm_board_unmap(board);
}

/* With inherited input the consumer itself makes items claimable, and wakes workers for them. */
static void
check_consumed_wakes_workers(void)
{
    struct fm_board *board = make_board(3, true, 100, 10000);
    fm_slots_await_room(&board->slots);
    for (unsigned i = 0; i < 3; i++) {
        (void)fm_doorbell_arm(&board->roster.entries[i].work, 6 + i);
    }
    fm_board_consumed(board, 1);
    CHECK_EQUAL(wanted_by_worker(board, 0), FM_NOBODY);
    CHECK_EQUAL(wanted_by_worker(board, 1), 7);
    fm_board_consumed_one(board, 2);
    CHECK_EQUAL(fm_load_relaxed(&board->slots.shared->consumed), 2);
    CHECK_EQUAL(wanted_by_worker(board, 1), FM_NOBODY);
    CHECK_EQUAL(wanted_by_worker(board, 2), 8);
    (void)fm_doorbell_arm(&board->roster.entries[0].work, 8);
    (void)fm_doorbell_arm(&board->roster.entries[1].work, 8);
    fm_board_consumed_one(board, 3); /* one item, one worker */
    CHECK_EQUAL((wanted_by_worker(board, 0) == 8) + (wanted_by_worker(board, 1) == 8)
                    + (wanted_by_worker(board, 2) == 8),
                2);
    fm_board_consumed(board, 3); /* and now whoever was overlooked */
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQUAL(wanted_by_worker(board, i), FM_NOBODY);
    }
    fm_board_unmap(board);
}

/* Where the ring is large the consumer looks for those who wait only now and then, and always before
 * it sleeps. */
static void
check_consumed_in_steps(void)
{
    struct fm_board board;
    struct fm_board_options options = {
        .workers = 1, .buffersize = 1024, .total = FM_UNKNOWN_TOTAL, .arena_limit = 10000};
    CHECK_EQUAL(fm_board_map(&board, &options, NULL), 0);
    struct fm_doorbell *feeder = &board.slots.shared->feeder;
    uint64_t step = board.slots.room_mask + 1;
    CHECK(step > 1 && step <= 1024 / 64);
    (void)fm_doorbell_arm(feeder, 1);
    fm_slots_await_room(&board.slots);
    for (uint64_t count = 1; count < step; count++) {
        fm_board_consumed_one(&board, count);
        CHECK_EQUAL(fm_load_relaxed(&board.slots.shared->consumed), count);
        CHECK_EQUAL(fm_doorbell_wanted(feeder), 1);
    }
    fm_board_consumed_one(&board, step);
    CHECK_EQUAL(fm_doorbell_wanted(feeder), FM_NOBODY);
    (void)fm_doorbell_arm(feeder, step + 1);
    fm_board_consumed_one(&board, step + 1);
    CHECK_EQUAL(fm_doorbell_wanted(feeder), step + 1);
    fm_board_consumed(&board, step + 1);
    CHECK_EQUAL(fm_doorbell_wanted(feeder), FM_NOBODY);
    fm_board_unmap(&board);
}

static void
check_call_workers(void)
{
    struct fm_board *board = make_fed_board();
    (void)fm_doorbell_arm(&board->roster.entries[0].work, 1);
    (void)fm_doorbell_arm(&board->roster.entries[1].work, 2);
    fm_slots_publish(&board->slots, 0);
    fm_slots_announce(&board->slots, 1);
    fm_board_call_workers(board, 1);
    CHECK_EQUAL(wanted_by_worker(board, 0), FM_NOBODY);
    CHECK_EQUAL(wanted_by_worker(board, 1), 2);
    fm_board_unmap(board);
}

static void
check_ending(void)
{
    struct fm_board *board = make_fed_board();
    struct fm_slots_shared *shared = board->slots.shared;
    uint32_t feeder = fm_doorbell_arm(&shared->feeder, 1000);
    uint32_t consumer = fm_doorbell_arm(&shared->consumer, 1000);
    uint32_t worker = fm_doorbell_arm(&board->roster.entries[1].work, 1000);
    struct pollfd watched = {.fd = board->slots.consumer_fd, .events = POLLIN};
    fm_store_relaxed(&shared->consumer_polls, 1);
    CHECK_EQUAL(fm_load_acquire(&shared->ended), 0);
    CHECK_EQUAL(poll(&watched, 1, 0), 0);
    fm_board_end(board);
    CHECK_EQUAL(poll(&watched, 1, 0), 1);
    CHECK_EQUAL(fm_load_acquire(&shared->ended), 1);
    CHECK_EQUAL(fm_doorbell_wait(&shared->feeder, feeder, FM_FOREVER), -EAGAIN);
    CHECK_EQUAL(fm_doorbell_wait(&shared->consumer, consumer, FM_FOREVER), -EAGAIN);
    CHECK_EQUAL(fm_doorbell_wait(&board->roster.entries[1].work, worker, FM_FOREVER), -EAGAIN);
    fm_board_unmap(board);
}

int
main(void)
{
    static enum event events[] = {EVENT_RETURN, EVENT_HEAD, EVENT_END};
    (void)alarm(CHECK_TIME_LIMIT);
    check_layout();
    check_attached();
    check_unmapped();
    check_refused();
    check_no_descriptor();
    check_payloads();
    check_full();
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        test_run("await space", check_await, &events[i]);
    }
    check_unordered_space();
    test_run("slices", check_await_slices, NULL);
    check_consumed_wakes_feeder();
    check_consumed_wakes_workers();
    check_consumed_in_steps();
    check_call_workers();
    check_ending();
    return 0;
}
