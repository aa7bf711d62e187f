#include "arena.h"

#include "doorbell.h"
#include "futex.h"
#include "shm.h"
#include "support.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* ---- one heap, one thread ---- */

struct owner {
    struct fm_arena arena;
    struct fm_heap heap;
};

static struct fm_heap *
make_heap(struct owner *owner, unsigned heaps, unsigned number, uint64_t limit)
{
    CHECK_EQUAL(fm_arena_map(&owner->arena, heaps, limit, false), 0);
    fm_heap_init(&owner->heap, &owner->arena, number);
    return &owner->heap;
}

static void
drop_heap(struct owner *owner)
{
    fm_heap_fini(&owner->heap);
    fm_arena_unmap(&owner->arena);
}

static uint64_t
take(struct fm_heap *heap, uint64_t size)
{
    uint64_t offset = 0;
    CHECK_EQUAL(fm_heap_take(heap, 0, size, &offset), 0);
    CHECK(offset != 0);
    return offset;
}

static uint64_t
capacity_at(const struct fm_arena *arena, uint64_t offset)
{
    return ((struct fm_block *)fm_arena_bytes(arena, offset) - 1)->capacity;
}

/* Large enough, aligned, little waste, and no two blocks overlap. */
static void
check_sizes(unsigned number)
{
    struct owner owner;
    struct fm_heap *heap = make_heap(&owner, 3, number, GIB);
    uint64_t end = number * owner.arena.heap_size + sizeof(struct fm_heap_shared);
    for (uint64_t size = 0; size < 100 * MIB; size += 1 + size / 16) {
        uint64_t offset = take(heap, size);
        uint64_t capacity = capacity_at(&owner.arena, offset);
        CHECK((uintptr_t)fm_arena_bytes(&owner.arena, offset) % FM_CACHE_LINE == 0);
        CHECK(offset >= end + sizeof(struct fm_block));
        CHECK(capacity >= size && capacity >= 256);
        CHECK(capacity == 256 || capacity - size <= size / 4);
        end = offset + capacity;
        CHECK(end <= (number + 1) * owner.arena.heap_size);
        if (size > 0) {
            ((char *)fm_arena_bytes(&owner.arena, offset))[size - 1] = 1;
        }
    }
    drop_heap(&owner);
}

/* Each step of a size class is used to its last byte and not beyond. */
static void
check_class_borders(void)
{
    struct owner owner;
    struct fm_heap *heap = make_heap(&owner, 1, 0, GIB);
    for (uint64_t power = 256; power < GIB; power *= 2) {
        for (uint64_t quarters = 4; quarters < 8; quarters++) {
            uint64_t size = power / 4 * quarters;
            uint64_t next = power / 4 * (quarters + 1);
            uint64_t exact = take(heap, size);
            uint64_t more = take(heap, size + 1);
            CHECK_EQUAL(capacity_at(&owner.arena, exact), size);
            CHECK_EQUAL(capacity_at(&owner.arena, more), next);
            fm_arena_return(&owner.arena, exact);
            fm_arena_return(&owner.arena, more);
        }
    }
    drop_heap(&owner);
}

static void
check_reuse_order(void)
{
    struct owner owner;
    struct fm_heap *heap = make_heap(&owner, 2, 1, GIB);
    uint64_t blocks[5];
    static const unsigned order[] = {3, 0, 4, 1, 2};
    for (unsigned i = 0; i < 5; i++) {
        blocks[i] = take(heap, 1000);
    }
    for (unsigned i = 0; i < 5; i++) {
        fm_arena_return(&owner.arena, blocks[order[i]]);
        if (i == 2) {
            /* A take in between collects the first three. */
            CHECK_EQUAL(take(heap, 1000), blocks[order[2]]);
            fm_arena_return(&owner.arena, blocks[order[2]]);
        }
    }
    for (unsigned i = 5; i-- > 0;) {
        CHECK_EQUAL(take(heap, 1024), blocks[order[i]]);
    }
    uint64_t fresh = take(heap, 1000);
    for (unsigned i = 0; i < 5; i++) {
        CHECK(fresh != blocks[i]);
    }
    drop_heap(&owner);
}

static void
check_limit(void)
{
    struct owner owner;
    struct fm_heap other;
    struct fm_heap *heap = make_heap(&owner, 2, 0, 10 * KIB);
    fm_heap_init(&other, &owner.arena, 1);
    CHECK(fm_arena_has_space(&owner.arena, 0, 10 * KIB));
    CHECK(!fm_arena_has_space(&owner.arena, 0, 10 * KIB + 1));
    uint64_t mine = take(heap, 4 * KIB);
    uint64_t its = take(&other, 4 * KIB);
    CHECK(fm_arena_has_space(&owner.arena, 0, 2 * KIB));
    CHECK(!fm_arena_has_space(&owner.arena, 0, 2 * KIB + 1));
    fm_arena_return(&owner.arena, its);
    CHECK(fm_arena_has_space(&owner.arena, 0, 6 * KIB));
    CHECK(!fm_arena_has_space(&owner.arena, 0, 6 * KIB + 1));
    fm_arena_return(&owner.arena, mine);
    CHECK(fm_arena_has_space(&owner.arena, 0, 10 * KIB));
    CHECK(!fm_arena_has_space(&owner.arena, 0, UINT64_MAX - GIB));
    fm_heap_fini(&other);
    drop_heap(&owner);
}

static void
check_huge(void)
{
    struct owner owner;
    struct fm_heap *heap = make_heap(&owner, 2, 1, UINT64_MAX);
    uint64_t offset;
    CHECK(owner.arena.heap_size >= 32 * GIB);
    CHECK_EQUAL(fm_heap_take(heap, 0, UINT64_MAX, &offset), -ENOMEM);
    CHECK_EQUAL(fm_heap_take(heap, 0, owner.arena.heap_size + 1, &offset), -ENOMEM);
    CHECK_EQUAL(fm_heap_take(heap, 0, owner.arena.heap_size, &offset), -ENOMEM);
    (void)take(heap, 10);
    (void)take(heap, owner.arena.heap_size / 2 - MIB);
    CHECK_EQUAL(fm_heap_take(heap, 0, owner.arena.heap_size / 2 + MIB, &offset), -ENOMEM);
    drop_heap(&owner);
}

/* When the address space is used up, larger blocks that are free must do. */
static void
check_exhausted(void)
{
    struct owner owner;
    struct fm_heap *heap = make_heap(&owner, 1, 0, UINT64_MAX);
    uint64_t size = owner.arena.heap_size / 8;
    uint64_t blocks[8];
    uint64_t offset;
    unsigned count = 0;
    while (count < 8 && fm_heap_take(heap, 0, size, &offset) == 0) {
        blocks[count++] = offset;
    }
    CHECK_EQUAL(count, 7); /* of eight, one is short by the headers */
    while (fm_heap_take(heap, 0, 16 * MIB, &offset) == 0) {
    }
    while (fm_heap_take(heap, 0, 1, &offset) == 0) {
    }
    fm_arena_return(&owner.arena, blocks[3]);
    CHECK_EQUAL(take(heap, 300), blocks[3]);
    CHECK_EQUAL(fm_heap_take(heap, 0, 1, &offset), -ENOMEM);
    fm_arena_return(&owner.arena, blocks[3]);
    CHECK_EQUAL(take(heap, size), blocks[3]);
    drop_heap(&owner);
}

/* A block that is lent counts as returned, but nobody else gets it before it is. */
static void
check_lent(void)
{
    struct owner owner;
    struct fm_heap *heap = make_heap(&owner, 1, 0, 10 * KIB);
    uint64_t block = take(heap, 8 * KIB);
    CHECK(!fm_arena_has_space(&owner.arena, 0, 8 * KIB));
    fm_arena_lend(&owner.arena, block);
    CHECK(fm_arena_has_space(&owner.arena, 0, 10 * KIB));
    uint64_t other = take(heap, 8 * KIB);
    CHECK(other != block);
    fm_arena_return_lent(&owner.arena, block);
    CHECK(!fm_arena_has_space(&owner.arena, 0, 8 * KIB));
    CHECK_EQUAL(take(heap, 8 * KIB), block);
    drop_heap(&owner);
}

/* ---- a heap whose owner has died ---- */

struct testament {
    uint64_t lost[4]; /* offsets */
    unsigned count;
};

static bool
is_in_testament(const void *context, uint64_t item, uint64_t offset)
{
    const struct testament *testament = context;
    for (unsigned i = 0; i < testament->count; i++) {
        if (testament->lost[i] == offset) {
            CHECK_EQUAL(item, 70 + i);
            return true;
        }
    }
    return false;
}

static uint64_t
take_for(struct fm_heap *heap, uint64_t item)
{
    uint64_t offset;
    CHECK_EQUAL(fm_heap_take(heap, item, 1000, &offset), 0);
    return offset;
}

static bool
is_among(uint64_t offset, const uint64_t *offsets, unsigned count)
{
    while (count > 0) {
        if (offsets[--count] == offset) {
            return true;
        }
    }
    return false;
}

/* Each block that was free, has come back or is lost is there again, once; the others are not. */
static void
check_adopted(void)
{
    struct owner owner;
    struct fm_heap *heap = make_heap(&owner, 2, 1, GIB);
    struct testament testament = {.count = 4};
    uint64_t blocks[12];
    uint64_t got[12];
    for (unsigned i = 0; i < 12; i++) {
        blocks[i] = take_for(heap, i < 4 ? 70 + i : i);
        memset(fm_arena_bytes(&owner.arena, blocks[i]), 'x', 1000);
    }
    memcpy(testament.lost, blocks, sizeof testament.lost);
    fm_arena_return(&owner.arena, blocks[4]);
    fm_arena_return(&owner.arena, blocks[5]);
    fm_arena_return(&owner.arena, take_for(heap, 99)); /* collects these two */
    /* Came back and were not collected; of a lost item, too, as when storing its result failed. */
    fm_arena_return(&owner.arena, blocks[6]);
    fm_arena_return(&owner.arena, blocks[3]);
    fm_heap_init(heap, &owner.arena, 1);
    fm_heap_adopt(heap, is_in_testament, &testament);
    for (unsigned i = 0; i < 7; i++) {
        got[i] = take_for(heap, 200);
        CHECK(is_among(got[i], blocks, 7));
        CHECK(!is_among(got[i], got, i));
    }
    got[7] = take_for(heap, 200);
    CHECK(!is_among(got[7], blocks, 12));
    /* 12 blocks, and one anew, are out now; nothing was counted twice. */
    CHECK(fm_arena_has_space(&owner.arena, 0, GIB - 13 * 1024));
    CHECK(!fm_arena_has_space(&owner.arena, 0, GIB - 13 * 1024 + 1));
    /* Those that were neither come back as ever. */
    fm_arena_return(&owner.arena, blocks[9]);
    CHECK_EQUAL(take_for(heap, 200), blocks[9]);
    drop_heap(&owner);
}

static void
check_adopted_empty(void)
{
    struct owner owner;
    struct testament testament = {0};
    struct fm_heap *heap = make_heap(&owner, 1, 0, GIB);
    fm_heap_init(heap, &owner.arena, 0);
    fm_heap_adopt(heap, is_in_testament, &testament);
    uint64_t first = take(heap, 1000);
    fm_heap_init(heap, &owner.arena, 0);
    fm_heap_adopt(heap, is_in_testament, &testament);
    CHECK(take(heap, 1000) != first);
    drop_heap(&owner);
}

static size_t
resident_pages(char *memory, size_t size)
{
    static unsigned char pages[8192];
    size_t count = 0;
    uintptr_t begin = (uintptr_t)memory & ~(uintptr_t)4095;
    CHECK(size / 4096 <= sizeof pages);
    CHECK_EQUAL(mincore((void *)begin, size, pages), 0);
    for (size_t i = 0; i < size / 4096; i++) {
        count += pages[i] & 1;
    }
    return count;
}

/* Free pages go back to the system when other sizes are wanted, but not before there is much. */
static void
check_discard(void)
{
    struct owner owner;
    struct fm_heap *heap = make_heap(&owner, 1, 0, GIB);
    uint64_t size = 16 * MIB;
    uint64_t blocks[3];
    for (unsigned i = 0; i < 3; i++) {
        blocks[i] = take(heap, size);
        memset(fm_arena_bytes(&owner.arena, blocks[i]), 'x', size);
    }
    fm_arena_return(&owner.arena, blocks[0]);
    fm_arena_return(&owner.arena, blocks[1]);
    (void)take(heap, 1000);
    CHECK(resident_pages(fm_arena_bytes(&owner.arena, blocks[0]), size) > 4000);
    fm_arena_return(&owner.arena, blocks[2]);
    (void)take(heap, 5000);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(resident_pages(fm_arena_bytes(&owner.arena, blocks[i]), size) <= 2);
    }
    /* The blocks themselves are still there. */
    for (unsigned i = 3; i-- > 0;) {
        CHECK_EQUAL(take(heap, size), blocks[i]);
        memset(fm_arena_bytes(&owner.arena, blocks[i]), 'y', size);
    }
    drop_heap(&owner);
}

/* ---- heaps of several threads or processes, blocks that others return ---- */

#define CHANNELS 4
#define CHANNEL_SIZE 8

/* Blocks on their way from one producer to the consumer. */
struct channel {
    FM_CACHE_ALIGNED fm_atomic_u64 sent;
    FM_CACHE_ALIGNED fm_atomic_u64 received;
    uint64_t offsets[CHANNEL_SIZE];
    uint64_t sizes[CHANNEL_SIZE];
};

struct traffic {
    struct channel channels[CHANNELS];
    struct fm_arena arena;
    fm_atomic_u64 turn;
    fm_atomic_u64 waits; /* for space */
    uint64_t blocks;     /* of each producer */
    uint64_t most_size;
    bool for_ever;
};

static void
fill(char *bytes, uint64_t size, uint64_t mark)
{
    for (uint64_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word = mark ^ i;
        memcpy(bytes + i, &word, 8);
    }
    memset(bytes + size / 8 * 8, (int)(mark & 0x7f), size % 8);
}

static void
check_filled(const char *bytes, uint64_t size, uint64_t mark)
{
    for (uint64_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        CHECK_EQUAL(word ^ i, mark);
    }
    for (uint64_t i = size / 8 * 8; i < size; i++) {
        CHECK_EQUAL(bytes[i], mark & 0x7f);
    }
}

static _Thread_local uint64_t size_waited_for;

static bool
is_due(void *context, const fm_atomic_u32 *word)
{
    struct traffic *traffic = context;
    CHECK(word == &traffic->arena.shared->space);
    return fm_arena_has_space(&traffic->arena, 0, size_waited_for);
}

static void
wait_for_space(struct traffic *traffic, uint64_t size)
{
    struct fm_arena *arena = &traffic->arena;
    size_waited_for = size;
    while (!fm_arena_has_space(arena, 0, size)) {
        (void)fm_add_relaxed(&traffic->waits, 1);
        uint32_t ticket = fm_arena_await_begin(arena);
        if (!fm_arena_has_space(arena, 0, size)) {
            (void)fm_arena_await(arena, ticket, FM_DOORBELL_SLICE);
        }
        fm_arena_await_end(arena);
    }
}

static void
send(struct channel *channel, uint64_t number, uint64_t offset, uint64_t size)
{
    /* Pairs with the release in receive. */
    while (number - fm_load_acquire(&channel->received) >= CHANNEL_SIZE) {
        (void)sched_yield();
    }
    channel->offsets[number % CHANNEL_SIZE] = offset;
    channel->sizes[number % CHANNEL_SIZE] = size;
    fm_store_release(&channel->sent, number + 1);
}

/* Mostly one size, so that blocks are used again, and some of any other. */
static uint64_t
choose_size(const struct traffic *traffic, uint64_t *seed)
{
    uint64_t size = 49 + test_random(seed) % traffic->most_size;
    return test_random(seed) % 4 > 0 ? 700 : size;
}

static void
produce(struct traffic *traffic, struct fm_heap *heap, unsigned number)
{
    uint64_t seed = number + 1;
    for (uint64_t i = 0; i < traffic->blocks || traffic->for_ever; i++) {
        uint64_t size = choose_size(traffic, &seed);
        wait_for_space(traffic, size);
        uint64_t offset = take(heap, size);
        fill(fm_arena_bytes(&traffic->arena, offset), size, i << 8 | number);
        send(&traffic->channels[number], i, offset, size);
        watch_touch();
    }
}

static bool
receive(struct traffic *traffic, unsigned number)
{
    struct channel *channel = &traffic->channels[number];
    uint64_t next = fm_load_relaxed(&channel->received);
    /* Pairs with the release in send. */
    if (next == fm_load_acquire(&channel->sent)) {
        return false;
    }
    uint64_t offset = channel->offsets[next % CHANNEL_SIZE];
    uint64_t size = channel->sizes[next % CHANNEL_SIZE];
    check_filled(fm_arena_bytes(&traffic->arena, offset), size, next << 8 | number);
    memset(fm_arena_bytes(&traffic->arena, offset), 0xEE, size);
    fm_store_release(&channel->received, next + 1);
    fm_arena_return(&traffic->arena, offset);
    watch_touch();
    return true;
}

static void
produce_from_own_heap(struct traffic *traffic, unsigned number)
{
    struct fm_heap heap;
    fm_heap_init(&heap, &traffic->arena, number);
    uint64_t start = heap.shared->top;
    produce(traffic, &heap, number);
    /* Of each of some twenty sizes no more than may be out at once. */
    CHECK(heap.shared->top - start <= 32 * traffic->arena.limit);
    fm_heap_fini(&heap);
}

/* The first two threads produce from one heap. */
static struct fm_heap common_heap;

static void *
produce_in_thread(void *argument)
{
    struct traffic *traffic = argument;
    unsigned number = (unsigned)fm_add_relaxed(&traffic->turn, 1);
    if (number < 2) {
        produce(traffic, &common_heap, number);
    } else {
        produce_from_own_heap(traffic, number);
    }
    return NULL;
}

static void
produce_in_process(void *argument)
{
    struct traffic *traffic = argument;
    produce_from_own_heap(traffic, (unsigned)fm_add_relaxed(&traffic->turn, 1));
}

static unsigned
receive_some(struct traffic *traffic)
{
    unsigned received = 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        received += receive(traffic, i);
    }
    if (received == 0) {
        (void)sched_yield();
    }
    return received;
}

static void
receive_all(struct traffic *traffic)
{
    uint64_t left = CHANNELS * traffic->blocks;
    while (left > 0) {
        left -= receive_some(traffic);
    }
}

static struct traffic *
make_traffic(uint64_t blocks, uint64_t most_size, uint64_t limit)
{
    struct traffic *traffic = test_map(sizeof *traffic);
    traffic->blocks = CHECK_SCALED(blocks);
    traffic->most_size = most_size;
    CHECK_EQUAL(fm_arena_map(&traffic->arena, CHANNELS, limit, false), 0);
    return traffic;
}

static bool
must_not_be_lost(const void *context, uint64_t item, uint64_t offset)
{
    (void)context;
    (void)item;
    (void)offset;
    CHECK(!"a block did not come back");
    return false;
}

/* Everything came back, each block by itself. */
static void
check_settled(struct traffic *traffic)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        struct fm_heap heap;
        fm_heap_init(&heap, &traffic->arena, i);
        fm_heap_adopt(&heap, must_not_be_lost, NULL);
        fm_heap_fini(&heap);
    }
    CHECK(fm_arena_has_space(&traffic->arena, 0, traffic->arena.limit));
    CHECK(fm_load_relaxed(&traffic->waits) > 0);
    CHECK_EQUAL(fm_load_relaxed(&traffic->arena.shared->space_waiters), 0);
}

/* The limit admits a few blocks; producers wait most of the time. */
static void
run_threads(void *ignored)
{
    pthread_t threads[CHANNELS];
    (void)ignored;
    struct traffic *traffic = make_traffic(30000, 4 * KIB, 12 * KIB);
    watch_begin(0, is_due, traffic);
    fm_heap_init(&common_heap, &traffic->arena, 0);
    for (unsigned i = 0; i < CHANNELS; i++) {
        threads[i] = test_thread(produce_in_thread, traffic);
    }
    receive_all(traffic);
    for (unsigned i = 0; i < CHANNELS; i++) {
        test_join_thread(threads[i]);
    }
    check_settled(traffic);
    watch_end();
}

struct load {
    uint64_t blocks;
    uint64_t most_size;
    uint64_t limit;
    unsigned jitter;
};

static void
run_processes(void *argument)
{
    const struct load *load = argument;
    pid_t pids[CHANNELS];
    struct traffic *traffic = make_traffic(load->blocks, load->most_size, load->limit);
    watch_begin(load->jitter, is_due, traffic);
    for (unsigned i = 0; i < CHANNELS; i++) {
        pids[i] = test_fork(produce_in_process, traffic);
    }
    receive_all(traffic);
    for (unsigned i = 0; i < CHANNELS; i++) {
        test_join(pids[i]);
    }
    check_settled(traffic);
    watch_end();
}

/* Producers are killed at random and what they sent is still whole; what they held is lost with
 * them, so the limit leaves room for that. */
static void
run_killed(void *ignored)
{
    pid_t pids[CHANNELS];
    uint64_t seed = 31337;
    int status;
    (void)ignored;
    struct traffic *traffic = make_traffic(0, 4 * KIB, 64 * KIB);
    traffic->for_ever = true;
    for (unsigned i = 0; i < CHANNELS; i++) {
        pids[i] = test_fork(produce_in_process, traffic);
    }
    for (unsigned killed = 0; killed < CHANNELS; killed++) {
        int64_t end = fm_clock_now() + (int64_t)(test_random(&seed) % 8) * FM_MILLISECOND;
        for (uint64_t received = 0; received < 200 || fm_clock_now() < end;) {
            received += receive_some(traffic);
        }
        CHECK_EQUAL(kill(pids[killed], SIGKILL), 0);
        CHECK_EQUAL(waitpid(pids[killed], &status, 0), pids[killed]);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    while (receive_some(traffic) > 0) {
    }
    fm_arena_unmap(&traffic->arena);
}

static void
run_kills(void *ignored)
{
    for (unsigned i = 0; i < (unsigned)CHECK_SCALED(20); i++) {
        test_join(test_fork(run_killed, ignored));
    }
}

int
main(void)
{
    static struct load small = {.blocks = 30000, .most_size = 4 * KIB, .limit = 12 * KIB};
    static struct load large = {.blocks = 1000, .most_size = 256 * KIB, .limit = 512 * KIB};
    static struct load jittery = {
        .blocks = 1500, .most_size = 4 * KIB, .limit = 6 * KIB, .jitter = 8};
    (void)alarm(CHECK_TIME_LIMIT);
    watch_check_linked();
    for (unsigned number = 0; number < 3; number++) {
        check_sizes(number);
    }
    check_class_borders();
    check_reuse_order();
    check_limit();
    check_huge();
    check_exhausted();
    check_discard();
    check_lent();
    check_adopted();
    check_adopted_empty();
    test_run("threads", run_threads, NULL);
    test_run("processes", run_processes, &small);
    test_run("processes, large blocks", run_processes, &large);
    test_run("processes, jitter", run_processes, &jittery);
    test_run("processes killed", run_kills, NULL);
    return 0;
}
