/* The ring of slots: item i lives in slot i mod capacity from its claim to its consumption.
 *
 * Three parties. The *feeder* (a thread of the parent) writes arguments, unless the workers
 * inherited the input; *worker* threads claim items and write results; the *consumer* (the thread
 * of the parent that iterates) reads results in order. A slot's state word carries its round, so
 * that a claim which comes late fails. Nothing here sleeps, and nothing is locked, so that a worker
 * may be killed at any instruction: what it was running stays marked with its number.
 *
 * The state word of item i in round r = i / capacity:
 *
 *     done(r - 1) --publish--> ready(r) --claim--> running(r, worker) --complete--> done(r)
 *          \__________________ claim, inherited input __________________/
 *
 * A worker that dies leaves its items `running`. The parent completes them, makes them claimable
 * again, or gives them to the worker's successor, which alone can claim them then:
 *
 *     running(r, worker) --mark--> retry(r, worker) --claim--> running(r, worker)
 *
 * There is no step from `done` to an empty state: the consumer only moves `consumed` on, which
 * opens the slots behind it for the next round.
 *
 * In an *unordered* ring results are taken as they come, and `consumed` is a mere count. What is
 * called an item here is a position in the ring then; the item's own number stands beside its
 * argument (fm_slots_number), and placement.h says how positions are chosen.
 */
#ifndef FM_SLOTS_H
#define FM_SLOTS_H

#include "atomic.h"
#include "doorbell.h"

#include <stdbool.h>
#include <stddef.h>

#define FM_UNKNOWN_TOTAL UINT64_MAX
#define FM_MAX_ITEM (UINT64_MAX >> 24)
#define FM_MAX_CAPACITY (UINT64_C(1) << 24)

/* A slot comes from another core's cache, which takes as long as two or three quick items: so many
 * items ahead it is asked for. */
#define FM_SLOTS_AHEAD 8

/* What the consumer of an unordered ring waits for. */
#define FM_ANY_ITEM (UINT64_MAX - 2)

/* Where a value's bytes are. */
enum fm_form { FM_FORM_INLINE, FM_FORM_BLOCK };

/* What became of an item; FM_OUTCOME_RESULT must be 0. */
enum fm_outcome {
    FM_OUTCOME_RESULT,
    FM_OUTCOME_ERROR,
    FM_OUTCOME_CRASHED, /* its process died */
    FM_OUTCOME_OVERDUE  /* it ran for too long; the bytes are its stack as text */
};

#define FM_INLINE_SIZE 48

/* A payload. `tag` belongs to the codec and means nothing to the core. */
struct fm_value {
    uint8_t form;
    uint8_t tag;
    uint8_t outcome;
    uint8_t inline_size;
    union {
        uint8_t bytes[FM_INLINE_SIZE];
        int64_t integer;
        double real;
        struct {
            uint64_t offset; /* of the bytes, in the arena */
            uint64_t size;
        } block;
        struct {
            int32_t pid;
            int32_t exit_known;
            int32_t exit_code;
            int32_t exit_signal;
            int32_t setup_error;     /* errno of a worker that could not even begin, or 0 */
            int32_t successor_error; /* why it could not be replaced, or 0 */
        } crash;
    } as;
};

/* One cache line. `state` is written by whoever the diagram above lets move it; `value` by the
 * claimant, and read by the consumer after an acquire of `done`. */
struct fm_slot {
    FM_CACHE_ALIGNED fm_atomic_u64 state;
    struct fm_value value;
};

/* The argument is kept apart from the result, so that it is still whole when its worker dies.
 * Written by the feeder before it publishes, freed by the consumer. */
struct fm_argument {
    FM_CACHE_ALIGNED struct fm_value value;
    uint64_t number; /* of the item in the input */
};

struct fm_slots_shared {
    /* Items that may be claimed as far as the input goes: all of them if it was inherited.
     * Written by the feeder (release, pairs with the acquire in fm_slots_limit). */
    FM_CACHE_ALIGNED fm_atomic_u64 published;
    /* Number of items, once known. Written by the feeder before its last `published`. */
    fm_atomic_u64 total;
    /* Items admitted and not yet consumed, at most. Constant. */
    uint64_t buffersize;

    /* Results that the consumer has taken. Written by the consumer (release, pairs with the
     * acquires in fm_slots_limit and fm_slots_room). */
    FM_CACHE_ALIGNED fm_atomic_u64 consumed;

    /* Where a worker looks for unclaimed items next. Only a hint: a claim is the compare-and-swap
     * on the slot. Written by workers, and set back by fm_slots_rewind. */
    FM_CACHE_ALIGNED fm_atomic_u64 cursor;

    /* How many of the feeder and the workers wait for `consumed` to move on, so that the consumer
     * need not look at each of their doorbells. Written by them; seq_cst. One who was killed while
     * it waited counts for ever, which costs the consumer a look. */
    FM_CACHE_ALIGNED fm_atomic_u32 room_waiters;

    /* The consumer waits here for one item to be done. */
    FM_CACHE_ALIGNED struct fm_doorbell consumer;
    /* 1 once the consumer waits in an event loop: who rings its doorbell then also writes to
     * `consumer_fd`. Written by the consumer before it arms; seq_cst. */
    fm_atomic_u32 consumer_polls;
    /* The feeder waits here for `consumed` to reach a count. */
    FM_CACHE_ALIGNED struct fm_doorbell feeder;
    /* Set once, by the parent, when nothing more is wanted of anybody. */
    FM_CACHE_ALIGNED fm_atomic_u32 ended;
    /* 1 once somebody watches the workers. Before that none may add threads: of the few that the
     * system may grant, none would be left for the one that watches. Written by the parent; relaxed. */
    fm_atomic_u32 watched;
};

/* A process's view; the memory itself is shared. */
struct fm_slots {
    struct fm_slots_shared *shared;
    struct fm_slot *slots;
    struct fm_argument *arguments; /* NULL if the input is inherited, and the ring ordered */
    bool unordered;
    uint64_t mask;
    /* The consumer looks for who waits for room only where `consumed` has no bit of these. Its own. */
    uint64_t room_mask;
    unsigned shift;  /* log2 of the capacity */
    int consumer_fd; /* eventfd that a consumer in an event loop watches, or -1; the board's */
};

/* Capacity for a buffersize: the next power of two. */
uint64_t fm_slots_capacity(uint64_t buffersize);

size_t fm_slots_memory_size(uint64_t capacity, bool inherited);

/* A process's view of the ring that lies, or is to lie, in `memory`. An unordered one is never
 * `inherited`. */
void fm_slots_attach(struct fm_slots *slots, void *memory, uint64_t capacity, bool inherited,
                     bool unordered);

/* Lays the ring out in zeroed shared memory, before any worker exists. `total` is FM_UNKNOWN_TOTAL
 * for a fed input. */
void fm_slots_init(struct fm_slots *slots, uint64_t buffersize, uint64_t total);

/* A state word: the phase in two bits, the worker in 22, the round above. */
#define FM_ROUND_STEP (UINT64_C(1) << 24)
#define FM_MAX_WORKERS 4096

enum fm_slot_phase { FM_SLOT_DONE, FM_SLOT_READY, FM_SLOT_RUNNING, FM_SLOT_RETRY };

static inline uint64_t
fm_slots_word(const struct fm_slots *slots, uint64_t item, enum fm_slot_phase phase, uint32_t who)
{
    /* Rounds count from 1, so that zeroed memory reads as "done" of the round before the first. */
    uint64_t round = (item >> slots->shift) + 1;
    return round * FM_ROUND_STEP | (uint64_t)who << 2 | (uint64_t)phase;
}

static inline struct fm_slot *
fm_slots_at(const struct fm_slots *slots, uint64_t item)
{
    return &slots->slots[item & slots->mask];
}

static inline struct fm_argument *
fm_slots_argument(const struct fm_slots *slots, uint64_t item)
{
    return &slots->arguments[item & slots->mask];
}

/* The item's number in the input. */
static inline uint64_t
fm_slots_number(const struct fm_slots *slots, uint64_t item)
{
    return slots->arguments != NULL ? fm_slots_argument(slots, item)->number : item;
}

/* What the consumer waits for if it waits for this item. */
static inline uint64_t
fm_slots_awaited(const struct fm_slots *slots, uint64_t item)
{
    return slots->unordered ? FM_ANY_ITEM : item;
}

/* The word that a claim of this item starts from. */
static inline uint64_t
fm_slots_claimable_word(const struct fm_slots *slots, uint64_t item)
{
    if (slots->arguments != NULL) {
        return fm_slots_word(slots, item, FM_SLOT_READY, 0);
    }
    return fm_slots_word(slots, item, FM_SLOT_DONE, 0) - FM_ROUND_STEP;
}

/* ---- feeder ---- */

/* Items that may be written now, beyond `published` of them. */
uint64_t fm_slots_room(const struct fm_slots *slots, uint64_t published);

/* To be called before items are published in order: has what will be written to for one that lies
 * ahead brought here. */
static inline void
fm_slots_prefetch_to_publish(const struct fm_slots *slots, uint64_t item)
{
    fm_prefetch_to_write(fm_slots_at(slots, item + FM_SLOTS_AHEAD));
    fm_prefetch_to_write(fm_slots_argument(slots, item + FM_SLOTS_AHEAD));
}

/* The argument of `item` has been written: it may be claimed. */
void fm_slots_publish(struct fm_slots *slots, uint64_t item);

/* `item` has its outcome already, written to its slot, and shall not run. */
void fm_slots_publish_done(struct fm_slots *slots, uint64_t item);

/* Lets the workers see that `count` items have been published. */
void fm_slots_announce(struct fm_slots *slots, uint64_t count);

/* The input has ended after `total` items, all of them published. */
void fm_slots_finish(struct fm_slots *slots, uint64_t total);

/* Feeder and workers, around a wait for room: before they arm their doorbell, and after. */
static inline void
fm_slots_await_room(struct fm_slots *slots)
{
    (void)fm_add_seq_cst(&slots->shared->room_waiters, 1);
}

static inline void
fm_slots_end_await_room(struct fm_slots *slots)
{
    (void)fm_sub_seq_cst(&slots->shared->room_waiters, 1);
}

/* ---- workers ---- */

/* Items below this may be claimed. */
static inline uint64_t
fm_slots_limit(const struct fm_slots *slots)
{
    /* Acquires pair with the releases in fm_slots_announce and fm_slots_set_consumed. */
    uint64_t published = fm_load_acquire(&slots->shared->published);
    if (slots->arguments != NULL) {
        return published; /* The feeder publishes no more than there is room for. */
    }
    uint64_t window = fm_load_acquire(&slots->shared->consumed) + slots->shared->buffersize;
    return published < window ? published : window;
}

/* Items that nobody has looked at yet. */
static inline uint64_t
fm_slots_waiting(const struct fm_slots *slots)
{
    uint64_t limit = fm_slots_limit(slots);
    uint64_t cursor = fm_load_relaxed(&slots->shared->cursor);
    return cursor < limit ? limit - cursor : 0;
}

/* Takes up to `most` items from the cursor to try: their number, the first in *begin. */
uint64_t fm_slots_reserve(struct fm_slots *slots, uint64_t most, uint64_t *begin);

/* To be called before items are claimed in order, for one that lies ahead and was reserved. */
static inline void
fm_slots_prefetch_to_claim(const struct fm_slots *slots, uint64_t item)
{
    fm_prefetch_to_write(fm_slots_at(slots, item));
    if (slots->arguments != NULL) {
        fm_prefetch_to_read(fm_slots_argument(slots, item));
    }
}

/* True if the item is the caller's to run. A full barrier on success. */
static inline bool
fm_slots_claim(struct fm_slots *slots, uint64_t item, uint32_t worker)
{
    /* Pairs with the release in fm_slots_publish, or in fm_slots_set_consumed by way of
     * fm_slots_limit. */
    uint64_t expected = fm_slots_claimable_word(slots, item);
    return fm_cas_seq_cst(&fm_slots_at(slots, item)->state, &expected,
                          fm_slots_word(slots, item, FM_SLOT_RUNNING, worker));
}

/* The result has been written. */
static inline void
fm_slots_complete(struct fm_slots *slots, uint64_t item)
{
    fm_store_release(&fm_slots_at(slots, item)->state, fm_slots_word(slots, item, FM_SLOT_DONE, 0));
}

/* Out of line: `awaited` is what the consumer waits for. */
void fm_slots_wake_consumer(struct fm_slots *slots, uint64_t awaited);

/* For whoever completed an item, after a full fence: wakes the consumer if it waits for just that.
 * `awaited` is what fm_slots_awaited says of the item. */
static inline void
fm_slots_call_consumer(struct fm_slots *slots, uint64_t awaited)
{
    if (fm_doorbell_wanted(&slots->shared->consumer) == awaited) {
        fm_slots_wake_consumer(slots, awaited);
    }
}

/* Wakes the consumer whatever it waits for: for endings. */
void fm_slots_ring_consumer(struct fm_slots *slots);

/* Sets the cursor back to the first item that nobody has claimed, if that lies behind it: items
 * that a thread reserved and then did not come to, or that died with their worker. True if there
 * is one. */
bool fm_slots_rewind(struct fm_slots *slots);

/* ---- consumer ---- */

static inline bool
fm_slots_is_done(const struct fm_slots *slots, uint64_t item)
{
    /* Pairs with the release in fm_slots_complete. */
    return fm_load_acquire(&fm_slots_at(slots, item)->state)
           == fm_slots_word(slots, item, FM_SLOT_DONE, 0);
}

/* The results of all items below `count` have been read. */
static inline void
fm_slots_set_consumed(struct fm_slots *slots, uint64_t count)
{
    fm_store_release(&slots->shared->consumed, count);
}

/* To be called as items are taken in order: has the slot of one that lies ahead brought here. */
static inline void
fm_slots_prefetch_result(const struct fm_slots *slots, uint64_t item)
{
    fm_prefetch_to_read(fm_slots_at(slots, item + FM_SLOTS_AHEAD));
}

/* The item to be woken for when `item`, the next to be consumed, is waited for: the last one below
 * `item + gap` that is not done, `item` itself if all behind it are. It may not even have been
 * admitted: where the input is what holds all up, few are, and each would be worth a wake. */
uint64_t fm_slots_item_to_await(const struct fm_slots *slots, uint64_t item, uint64_t gap);

/* How many items from `item` on have been admitted and are done; in an ordered ring. */
uint64_t fm_slots_count_done(const struct fm_slots *slots, uint64_t item);

/* Instead of a sleep at the doorbell: has it answered through `consumer_fd` when what is `awaited` is
 * done or something has ended. The condition must be looked at again afterwards. */
void fm_slots_arm_consumer_fd(struct fm_slots *slots, uint64_t awaited);

/* ---- recovery ---- */

/* A walk over the slots that are in use, in the order of items if the ring is ordered. */
struct fm_slots_walk {
    uint64_t next;
    uint64_t end;
};

struct fm_slots_walk fm_slots_walk(const struct fm_slots *slots);

/* The next item that is in a phase (but for FM_SLOT_DONE) with this worker; false if there is none.
 * What a worker has that is no more is RUNNING. */
bool fm_slots_walk_to(const struct fm_slots *slots, struct fm_slots_walk *walk,
                      enum fm_slot_phase phase, uint32_t worker, uint64_t *item);

/* Whether this worker runs an item. */
bool fm_slots_are_run_by(const struct fm_slots *slots, uint32_t worker);

/* Parent, for such an item: leaves it to the worker's successor. */
void fm_slots_mark_retry(struct fm_slots *slots, uint64_t item, uint32_t worker);

/* Parent, for such an item: anybody may claim it again. */
void fm_slots_unclaim(struct fm_slots *slots, uint64_t item);

/* Successor: claims the first item that was left to it; false if there is none. */
bool fm_slots_claim_retry(struct fm_slots *slots, uint32_t worker, uint64_t *item);

/* Whether the slot has been given to a later item since, so that this one was consumed. */
static inline bool
fm_slots_is_overtaken(const struct fm_slots *slots, uint64_t item)
{
    uint64_t state = fm_load_acquire(&fm_slots_at(slots, item)->state);
    return state / FM_ROUND_STEP > (item >> slots->shift) + 1;
}

/* The first item from `from` on that is not done; FM_UNKNOWN_TOTAL if none is admitted. */
uint64_t fm_slots_next_unfinished(const struct fm_slots *slots, uint64_t from);

#endif
