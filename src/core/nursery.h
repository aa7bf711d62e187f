/* A process that forks workers.
 *
 * By the time a worker dies the parent has threads, and forking it would copy whatever locks they
 * hold. So another process is forked along with the first workers, before any thread of ours exists,
 * and keeps that state: it has one thread, and does nothing but fork when the monitor asks it to.
 * Where the parent is not to be forked at all, the nursery comes from a fork server, and the first
 * workers from the nursery. Those that it forks are its children; it collects their exit statuses
 * when the monitor has seen them end.
 *
 * It is asked over a socket pair, a message at a time; the socket's end, or its silence, tells the
 * monitor that it is gone.
 */
#ifndef FM_NURSERY_H
#define FM_NURSERY_H

#include "process.h"

struct fm_nursery {
    int parent_fd;
    int nursery_fd;
    bool usable; /* parent: it has answered so far */
};

/* Before the fork: 0 or -errno. */
int fm_nursery_init(struct fm_nursery *nursery);
void fm_nursery_fini(struct fm_nursery *nursery);

/* After the nursery's fork and before any other: each side closes the other's end, so that the
 * socket ends with its process. A successor closes both. */
void fm_nursery_enter_parent(struct fm_nursery *nursery);
void fm_nursery_enter_nursery(struct fm_nursery *nursery);

/* In the nursery process: serves until the parent is gone or wants all to end; then returns, when
 * all children have ended. `fork_worker` returns the new worker's pid or -errno, and never returns
 * in the worker. */
void fm_nursery_serve(struct fm_nursery *nursery, int parent_pidfd, int close_fd,
                      pid_t (*fork_worker)(void *context, unsigned worker), void *context);

/* Monitor: the pid of a new worker, or -errno. */
pid_t fm_nursery_fork(struct fm_nursery *nursery, unsigned worker);

/* Monitor: how a worker that has ended did so. */
struct fm_exit fm_nursery_reap(struct fm_nursery *nursery, pid_t pid);

#endif
