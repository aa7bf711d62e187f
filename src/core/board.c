#include "board.h"

#include "descriptor.h"
#include "shm.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static size_t
round_to_line(size_t size)
{
    return (size + FM_CACHE_LINE - 1) & ~(size_t)(FM_CACHE_LINE - 1);
}

static size_t
roster_size(const struct fm_board_options *options)
{
    return round_to_line(fm_roster_memory_size(options->workers));
}

static size_t
memory_size(const struct fm_board_options *options)
{
    uint64_t capacity = fm_slots_capacity(options->buffersize);
    return roster_size(options) + fm_slots_memory_size(capacity, options->inherited);
}

static void
set_view(struct fm_board *board, const struct fm_board_options *options)
{
    fm_roster_attach(&board->roster, board->memory, options->workers);
    fm_slots_attach(&board->slots, (char *)board->memory + roster_size(options),
                    fm_slots_capacity(options->buffersize), options->inherited, options->unordered);
}

/* 0 or -errno, and then the board has been unmapped. */
static int
open_consumer_fd(struct fm_board *board, struct fm_board_fds *fds)
{
    int fd = fm_descriptor_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (fd < 0) {
        if (fds != NULL) {
            (void)close(fds->board);
        }
        fm_board_unmap(board);
        return fd;
    }
    board->slots.consumer_fd = fd;
    if (fds != NULL) {
        fds->arena = board->arena.fd;
        fds->consumer = fd;
    }
    return 0;
}

int
fm_board_map(struct fm_board *board, const struct fm_board_options *options,
             struct fm_board_fds *fds)
{
    if (options->buffersize < 1 || options->buffersize > FM_MAX_CAPACITY
        || options->workers > FM_MAX_WORKERS) {
        return -EINVAL;
    }
    board->size = memory_size(options);
    int result = fm_shm_map(board->size, &board->memory, fds != NULL ? &fds->board : NULL);
    if (result < 0) {
        return result;
    }
    result = fm_arena_map(&board->arena, options->workers + 1, options->arena_limit, fds != NULL);
    if (result < 0) {
        fm_shm_unmap(board->memory, board->size);
        if (fds != NULL) {
            (void)close(fds->board);
        }
        return result;
    }
    set_view(board, options);
    fm_roster_init(&board->roster);
    fm_slots_init(&board->slots, options->buffersize, options->total);
    return open_consumer_fd(board, fds);
}

int
fm_board_attach(struct fm_board *board, const struct fm_board_options *options,
                const struct fm_board_fds *fds)
{
    int result = fm_shm_attach(fds->board, &board->memory, &board->size);
    if (result < 0) {
        return result;
    }
    result = fm_arena_attach(&board->arena, options->workers + 1, options->arena_limit, fds->arena);
    if (result < 0) {
        fm_shm_unmap(board->memory, board->size);
        return result;
    }
    set_view(board, options);
    board->slots.consumer_fd = fds->consumer;
    return 0;
}

void
fm_board_unmap(struct fm_board *board)
{
    if (board->slots.consumer_fd >= 0) {
        (void)close(board->slots.consumer_fd);
    }
    fm_arena_unmap(&board->arena);
    fm_shm_unmap(board->memory, board->size);
}

void
fm_board_call_workers(struct fm_board *board, uint64_t count)
{
    fm_fence_seq_cst();
    fm_roster_call(&board->roster, fm_slots_limit(&board->slots), count);
}

void
fm_board_call_for_room(struct fm_board *board, uint64_t consumed, uint64_t items)
{
    if (fm_load_relaxed(&board->slots.shared->room_waiters) > 0) {
        struct fm_doorbell *feeder = &board->slots.shared->feeder;
        uint64_t wanted = fm_doorbell_wanted(feeder);
        if (wanted <= consumed) {
            (void)fm_doorbell_answer(feeder, wanted);
        }
        fm_roster_call(&board->roster, fm_slots_limit(&board->slots), items);
    }
    /* A worker may wait for its item to become the head. */
    fm_arena_call_waiters(&board->arena);
}

void
fm_board_consumed(struct fm_board *board, uint64_t count)
{
    fm_slots_set_consumed(&board->slots, count);
    fm_fence_seq_cst();
    fm_board_call_for_room(board, count, board->slots.shared->buffersize);
}

void
fm_board_end(struct fm_board *board)
{
    fm_store_seq_cst(&board->slots.shared->ended, 1);
    fm_roster_call_all(&board->roster);
    fm_doorbell_ring(&board->slots.shared->feeder);
    fm_slots_ring_consumer(&board->slots);
    fm_arena_call_waiters(&board->arena);
}

/* In an unordered ring no item is the next, and none may wait for another: results wait for results
 * alone, which the consumer takes as they come, and an argument waits no longer than anything is in
 * the ring. */
bool
fm_board_may_take(const struct fm_board *board, unsigned heap, uint64_t item, uint64_t size)
{
    const struct fm_slots_shared *shared = board->slots.shared;
    uint64_t consumed = fm_load_relaxed(&shared->consumed);
    if (!board->slots.unordered) {
        return fm_arena_has_space(&board->arena, 0, size) || item == consumed;
    }
    if (heap == 0) {
        return fm_arena_has_space(&board->arena, 0, size)
               || fm_slots_number(&board->slots, item) == consumed;
    }
    return fm_arena_has_space(&board->arena, 1, size) || fm_arena_is_empty(&board->arena, 1);
}

enum fm_store_result
fm_board_reserve(struct fm_board *board, struct fm_heap *heap, uint64_t item, uint64_t size,
                 struct fm_value *value, void **bytes)
{
    uint64_t offset;
    if (size <= FM_INLINE_SIZE) {
        value->form = FM_FORM_INLINE;
        value->inline_size = (uint8_t)size;
        *bytes = value->as.bytes;
        return FM_STORE_DONE;
    }
    if (!fm_board_may_take(board, heap->number, item, size)) {
        return FM_STORE_FULL;
    }
    if (fm_heap_take(heap, item, size, &offset) < 0) {
        return FM_STORE_TOO_LARGE;
    }
    value->form = FM_FORM_BLOCK;
    value->as.block.offset = offset;
    value->as.block.size = size;
    *bytes = fm_arena_bytes(&board->arena, offset);
    return FM_STORE_DONE;
}

bool
fm_board_await_space(struct fm_board *board, const struct fm_heap *heap, uint64_t item,
                     uint64_t size)
{
    fm_atomic_u32 *ended = &board->slots.shared->ended;
    uint32_t ticket = fm_arena_await_begin(&board->arena);
    if (!fm_board_may_take(board, heap->number, item, size) && !fm_load_acquire(ended)) {
        (void)fm_arena_await(&board->arena, ticket, FM_DOORBELL_SLICE);
    }
    fm_arena_await_end(&board->arena);
    return !fm_load_acquire(ended);
}

const void *
fm_board_bytes(const struct fm_board *board, const struct fm_value *value, uint64_t *size)
{
    if (value->form == FM_FORM_INLINE) {
        *size = value->inline_size;
        return value->as.bytes;
    }
    *size = value->as.block.size;
    return fm_arena_bytes(&board->arena, value->as.block.offset);
}

void
fm_board_drop(struct fm_board *board, const struct fm_value *value)
{
    if (value->form == FM_FORM_BLOCK) {
        fm_arena_return(&board->arena, value->as.block.offset);
    }
}

/* A block of an item that was not consumed is somebody's only if the item is done with it. The order
 * of the looks matters: an item that is overtaken in between is its consumer's to return. */
static bool
is_lost(const void *context, uint64_t item, uint64_t offset)
{
    const struct fm_slots *slots = context;
    const struct fm_value *value = &fm_slots_at(slots, item)->value;
    bool holds = fm_slots_is_done(slots, item) && value->form == FM_FORM_BLOCK
                 && value->as.block.offset == offset;
    return !holds && !fm_slots_is_overtaken(slots, item);
}

void
fm_board_adopt_heap(struct fm_board *board, struct fm_heap *heap)
{
    fm_heap_adopt(heap, is_lost, &board->slots);
}

void
fm_board_reclaim(struct fm_board *board, unsigned worker)
{
    struct fm_heap heap;
    fm_heap_init(&heap, &board->arena, worker + 1);
    fm_board_adopt_heap(board, &heap);
    fm_heap_fini(&heap);
    fm_arena_call_waiters(&board->arena);
}
