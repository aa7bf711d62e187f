/* The workers as all processes see them: who is alive, how busy each is, where each waits for work.
 *
 * An entry is written by its worker process, but for `alive`, which the parent takes away when the
 * process has ended. Ringing is for whoever made work available: the feeder, the consumer.
 */
#ifndef FM_ROSTER_H
#define FM_ROSTER_H

#include "atomic.h"
#include "doorbell.h"
#include "slots.h"
#include "stats.h"

#include <stdbool.h>
#include <stddef.h>

/* How much longer a worker has for its farewell that runs nothing, or says it is finishing something. */
#define FM_FINISH_GRACE_MS 3000

struct fm_roster_entry {
    /* Threads that run an item or look for one. Written by the worker; relaxed, a hint. */
    FM_CACHE_ALIGNED fm_atomic_u32 active;
    /* 1 until the parent has seen the process end. Written by the parent; relaxed. */
    fm_atomic_u32 alive;
    /* 1 once the worker has set itself up. Written by the worker, taken back by the parent before it
     * is replaced; relaxed. */
    fm_atomic_u32 started;
    /* Why the worker could not set itself up, an errno, or 0. Written by the worker before it exits,
     * read by the parent after that. */
    fm_atomic_u32 setup_error;
    /* 1 while the worker runs what its predecessor left to it, each item alone in the process, so that
     * one which kills its process harms no other. It takes nothing else until then, and counts for no
     * share. Written by the worker's main thread; relaxed, a hint to others. */
    fm_atomic_u32 solo;
    /* 1 once the worker, about to leave, waits for what its program has begun, as long as that may take.
     * Written by the worker; relaxed. */
    fm_atomic_u32 finishing;
    /* The worker's one leading thread waits here for a limit (fm_slots_limit) to be reached. */
    FM_CACHE_ALIGNED struct fm_doorbell work;
};

/* What a worker tells its parent when it ends itself because an item ran for too long. Written by its
 * supervisor before it exits, read by the parent after that. */
struct fm_last_words {
    uint64_t item; /* plus 1; 0 for nothing said */
    uint64_t size;
    char stack[8192]; /* of the thread that ran the item, as text */
};

struct fm_roster {
    struct fm_roster_entry *entries;
    struct fm_last_words *last_words; /* of each worker */
    struct fm_stats *stats;           /* likewise; stats.h */
    unsigned count;
};

size_t fm_roster_memory_size(unsigned count);

/* A process's view of the roster that lies, or is to lie, in `memory`. */
void fm_roster_attach(struct fm_roster *roster, void *memory, unsigned count);

/* Lays the roster out in zeroed shared memory, before any worker exists; all entries alive. */
void fm_roster_init(struct fm_roster *roster);

/* Wakes up to `most` workers that wait for `limit` or less, the least busy first. Call after a full
 * fence behind whatever made the limit reachable. */
void fm_roster_call(struct fm_roster *roster, uint64_t limit, uint64_t most);

/* Wakes every worker that waits, for whatever it waits. */
void fm_roster_call_all(struct fm_roster *roster);

/* How many threads one process may have active for work to be spread evenly, with `waiting` items
 * not yet taken by anybody. The least busy process is always below its share, so that waiting items
 * never wait for the share. */
uint64_t fm_roster_share(const struct fm_roster *roster, uint64_t waiting);

/* Whether a worker runs an item, or has not got to its first. Its threads that are active may have only
 * just been started, or be about to become idle. */
bool fm_roster_is_at_work(const struct fm_roster *roster, const struct fm_slots *slots,
                          unsigned worker);

#endif
