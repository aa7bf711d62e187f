/* The parent's thread that watches its workers.
 *
 * It sleeps in poll(2) on the workers' pidfds and never takes the GIL. When a worker has ended it
 * reaps it and settles what the worker was running (recovery.h): each such item is completed with
 * the outcome "crashed", so that the consumer meets it in its place in the order, or run again by a
 * successor, which the nursery forks. What the worker had not begun goes to whoever is there.
 */
#ifndef FM_MONITOR_H
#define FM_MONITOR_H

#include "board.h"
#include "nursery.h"
#include "process.h"
#include "recovery.h"

#include <pthread.h>

/* How long workers may take to end by themselves once they are asked to. */
#define FM_CLOSE_GRACE_MS 400

struct fm_monitored {
    pid_t pid;
    int pidfd;          /* -1 once it has ended */
    bool of_nursery;    /* a child of the nursery's, not ours */
    unsigned stillborn; /* predecessors in a row that died before they could start */
};

struct fm_monitor {
    struct fm_board *board;
    struct fm_monitored *workers;
    unsigned count;
    struct fm_monitored nursery_process; /* pid 0 if there is no nursery */
    struct fm_nursery nursery;
    bool replaces; /* a worker that dies gets a successor */
    struct fm_recovery recovery;
    /* A pipe's reading end: makes the workers, and then the monitor, end. The other one is the
     * parent's alone and closes by itself if the parent executes another program. */
    int close_fd;
    int close_write_fd;
    pthread_t thread;
    /* Workers that haven't ended for good. Written by the monitor (release) after it has settled a
     * worker's items, read by the consumer (acquire). */
    fm_atomic_u32 alive;
    /* 1 when all processes are gone and the thread is about to end. Written by the monitor (release),
     * read by the consumer (acquire). */
    fm_atomic_u32 over;
    /* Written by the monitor before `alive`. */
    struct fm_value last_crash;
};

struct fm_monitor_options {
    struct fm_heap *heap; /* the parent's */
    unsigned workers;
    bool replaces;      /* a worker that dies gets a successor */
    bool forks_nothing; /* the first workers come from the nursery too, and it from elsewhere */
    uint64_t retries;   /* how often an item that was lost with its worker is run again */
};

/* Allocates, and makes the pipe and the nursery's socket, before the fork; 0 or -errno. */
int fm_monitor_init(struct fm_monitor *monitor, struct fm_board *board,
                    const struct fm_monitor_options *options);

/* The nursery was forked; 0 or -errno. */
int fm_monitor_add_nursery(struct fm_monitor *monitor, pid_t pid);

/* The next worker, in the order of their numbers, was forked; 0 or -errno. */
int fm_monitor_add(struct fm_monitor *monitor, pid_t pid);

/* The same, by the nursery: has it forked. */
int fm_monitor_add_from_nursery(struct fm_monitor *monitor);

/* In a forked worker, or in the nursery: gives up what is others'. */
void fm_monitor_enter_worker(struct fm_monitor *monitor);
void fm_monitor_enter_nursery(struct fm_monitor *monitor);

/* Starts the thread; 0 or -errno, and then all processes were killed and reaped. */
int fm_monitor_start(struct fm_monitor *monitor);

/* Ends the workers, by force where it must, and then the thread. Blocks for FM_CLOSE_GRACE_MS, for
 * FM_FINISH_GRACE_MS more if some worker runs nothing or is finishing, and what the kernel needs for a
 * kill. */
void fm_monitor_stop(struct fm_monitor *monitor);

/* Asks for the same and doesn't wait: fm_monitor_is_over tells, and the consumer is rung, when
 * fm_monitor_stop would not block. */
void fm_monitor_begin_stop(struct fm_monitor *monitor);

static inline bool
fm_monitor_is_over(struct fm_monitor *monitor)
{
    return fm_load_acquire(&monitor->over) != 0;
}

/* Frees what fm_monitor_init allocated; also in a forked child, which has no thread to stop. */
void fm_monitor_fini(struct fm_monitor *monitor);

/* Consumer: no worker is left to do anything. */
static inline bool
fm_monitor_is_deserted(struct fm_monitor *monitor)
{
    return fm_load_acquire(&monitor->alive) == 0;
}

#endif
