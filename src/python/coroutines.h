/* Coroutine functions in a worker: an event loop on its main thread runs many items at once.
 *
 * The loop takes items as it comes to start them, without waiting. When it finds none, it hands the
 * main thread's part in the pool to a thread of its own, the *waiter*, which waits as an idle pool
 * thread does and never takes the GIL; an eventfd that the loop watches tells that there is work, or
 * that all is over. Who has the turn alone may use pool.main_thread.
 *
 * A result for which the arena has no room must not hold the loop up, for the item that all wait for
 * may be running there. It is put aside; another thread waits for room.
 */
#ifndef FM_COROUTINES_H
#define FM_COROUTINES_H

#include "coroutine.h"

/* An item as the supervisor sees it, which has no GIL: FM_NO_ITEM for none. Relaxed, `since` first.
 * The one that steps may be condemned, as fm_pool_thread's. */
struct fm_watched_item {
    fm_atomic_u64 item;
    fm_atomic_u64 since;
};

struct fm_coroutine_list {
    struct fm_coroutine *first;
    struct fm_coroutine *last;
};

struct fm_coroutines {
    struct fm_worker *worker;
    int ready_fd; /* the eventfd */

    /* With the GIL. */
    PyObject *loop;
    PyObject *take; /* callback of the loop */
    unsigned limit; /* most that run at once */
    unsigned running;
    bool scheduled;                   /* the loop is about to call `take` */
    bool over;                        /* nothing more will come, and nothing runs */
    struct fm_coroutine_list started; /* by age; until they end */
    struct fm_coroutine_list ended;   /* by item; those for whose outcome there is no room yet */

    /* Whose turn it is, loop or waiter: the other one's writes are seen by acquire and release.
     * `found` is what the waiter has claimed, or FM_NO_ITEM. */
    fm_atomic_u32 turn;
    uint64_t found;
    bool finished; /* the waiter has learnt that nothing will ever come */

    /* 1 while the thread that waits for room has to, and for what: the first of `ended`. */
    fm_atomic_u32 wants_room;
    fm_atomic_u64 room_item;
    fm_atomic_u64 room_size;

    /* For the supervisor. Written by the loop's thread. */
    struct fm_watched_item oldest;
    struct fm_watched_item stepping; /* the one whose step the loop is in */
    fm_atomic_u64 steps;             /* that have begun until now */
    uint64_t stack_item;             /* the supervisor's own: whose stack is to be written */
};

/* Sets up the worker's event loop; before fm_pool_init. 0 or -errno. */
int fm_coroutines_open(struct fm_worker *worker);

/* Calls a function in the loop and, if what it returns can be awaited, awaits that. NULL with an
 * exception. */
PyObject *fm_coroutines_call(struct fm_coroutines *coroutines, PyObject *function,
                             PyObject *arguments);

/* Runs items until none will ever come; -errno if the system grants no threads, or the loop fails. */
int fm_coroutines_run(struct fm_worker *worker);

/* For coroutine.c: it has ended with this result or, for NULL, with the exception that is set (and no
 * longer is). */
void fm_coroutines_end(struct fm_coroutine *coroutine, PyObject *result);

/* ---- coroutines_watch.c: what the supervisor sees, and looks for if there is a task_timeout ---- */

void fm_coroutines_watch(struct fm_coroutines *coroutines);

/* NULL for none. */
void fm_coroutines_set_watched(struct fm_watched_item *watched,
                               const struct fm_coroutine *coroutine);

/* Around a step. */
void fm_coroutines_begin_step(struct fm_coroutine *coroutine);
void fm_coroutines_end_step(struct fm_coroutine *coroutine);

#endif
