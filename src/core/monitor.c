#include "monitor.h"

#include "clock.h"
#include "descriptor.h"
#include "supervisor.h"
#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A kill is repeated after that time, though one should do. */
#define KILL_GRACE_MS 1000

/* How often it is tried to start a successor, and how long in between, where the system grants no
 * process or no descriptor: shortages pass. */
#define START_ATTEMPTS 10
#define START_PAUSE_MS 10

/* Workers that die this often in a row before they have set themselves up won't ever. */
#define STILLBORN_MOST 10

static int
make_close_pipe(struct fm_monitor *monitor)
{
    int fds[2];
    int result = fm_descriptor_keep_pair(pipe2(fds, O_CLOEXEC | O_NONBLOCK), fds);
    if (result == 0) {
        monitor->close_fd = fds[0];
        monitor->close_write_fd = fds[1];
    }
    return result;
}

int
fm_monitor_init(struct fm_monitor *monitor, struct fm_board *board,
                const struct fm_monitor_options *options)
{
    memset(monitor, 0, sizeof *monitor);
    monitor->board = board;
    monitor->replaces = options->replaces;
    monitor->nursery = (struct fm_nursery){.parent_fd = -1, .nursery_fd = -1};
    monitor->nursery_process.pidfd = -1;
    int result = make_close_pipe(monitor);
    if (result < 0) {
        return result;
    }
    result = fm_recovery_init(&monitor->recovery, board, options->heap, options->retries);
    monitor->workers = calloc(options->workers, sizeof *monitor->workers);
    if (result == 0 && monitor->workers == NULL) {
        result = -ENOMEM;
    }
    if (result == 0 && (options->replaces || options->forks_nothing)) {
        result = fm_nursery_init(&monitor->nursery);
    }
    if (result < 0) {
        fm_monitor_fini(monitor);
    }
    return result;
}

/* It closes with its last copy: a child must not keep one. */
static void
close_writing_end(struct fm_monitor *monitor)
{
    if (monitor->close_write_fd >= 0) {
        (void)close(monitor->close_write_fd);
        monitor->close_write_fd = -1;
    }
}

void
fm_monitor_enter_worker(struct fm_monitor *monitor)
{
    fm_nursery_fini(&monitor->nursery);
    close_writing_end(monitor);
}

void
fm_monitor_enter_nursery(struct fm_monitor *monitor)
{
    fm_nursery_enter_nursery(&monitor->nursery);
    close_writing_end(monitor);
}

static int
watch(struct fm_monitored *process, pid_t pid)
{
    int pidfd = fm_process_open(pid);
    if (pidfd < 0) {
        return pidfd;
    }
    process->pid = pid;
    process->pidfd = pidfd;
    return 0;
}

int
fm_monitor_add_nursery(struct fm_monitor *monitor, pid_t pid)
{
    return watch(&monitor->nursery_process, pid);
}

int
fm_monitor_add(struct fm_monitor *monitor, pid_t pid)
{
    int result = watch(&monitor->workers[monitor->count], pid);
    monitor->count += result == 0;
    return result;
}

/* One that can't be watched could be lost without a word: then there shall be none. It has run
 * nothing if it is a successor, which waits until it is watched. */
static int
fork_watched(struct fm_monitor *monitor, unsigned worker)
{
    pid_t pid = fm_nursery_fork(&monitor->nursery, worker);
    if (pid < 0) {
        return pid;
    }
    struct fm_monitored *forked = &monitor->workers[worker];
    int result = watch(forked, pid);
    forked->of_nursery = true;
    if (result < 0) {
        (void)kill(pid, SIGKILL);
        (void)fm_nursery_reap(&monitor->nursery, pid);
    }
    return result;
}

int
fm_monitor_add_from_nursery(struct fm_monitor *monitor)
{
    int result = fork_watched(monitor, monitor->count);
    monitor->count += result == 0;
    return result;
}

/* ---- one worker's end ---- */

static struct fm_value
crash_value(pid_t pid, struct fm_exit exit)
{
    struct fm_value value = {.form = FM_FORM_INLINE, .outcome = FM_OUTCOME_CRASHED};
    value.as.crash.pid = pid;
    value.as.crash.exit_known = exit.known;
    value.as.crash.exit_code = exit.code;
    value.as.crash.exit_signal = exit.signal;
    return value;
}

static bool
is_closing(const struct fm_monitor *monitor)
{
    return fm_load_acquire(&monitor->board->slots.shared->ended) != 0;
}

/* When all is over the nursery collects its children by itself. */
static struct fm_exit
collect_exit(struct fm_monitor *monitor, const struct fm_monitored *ended)
{
    if (!ended->of_nursery) {
        return fm_process_reap(ended->pid);
    }
    return is_closing(monitor) ? (struct fm_exit){0}
                               : fm_nursery_reap(&monitor->nursery, ended->pid);
}

/* Less patient where it is wished that all end. */
static int
fork_watched_patiently(struct fm_monitor *monitor, unsigned worker)
{
    struct pollfd close = {.fd = monitor->close_fd, .events = POLLIN};
    int result = fork_watched(monitor, worker);
    for (unsigned i = 1; i < START_ATTEMPTS && result < 0 && monitor->nursery.usable; i++) {
        if (poll(&close, 1, START_PAUSE_MS) > 0) {
            break;
        }
        result = fork_watched(monitor, worker);
    }
    return result;
}

static bool
start_successor(struct fm_monitor *monitor, unsigned worker)
{
    struct fm_monitored *ended = &monitor->workers[worker];
    struct fm_roster_entry *entry = &monitor->board->roster.entries[worker];
    bool was_born = fm_load_relaxed(&entry->started) != 0;
    ended->stillborn = was_born ? 0 : ended->stillborn + 1;
    if (!monitor->replaces || ended->stillborn > STILLBORN_MOST
        || !fm_recovery_has_work(&monitor->recovery, worker)) {
        return false;
    }
    fm_store_relaxed(&entry->started, 0);
    fm_store_relaxed(&entry->setup_error, 0);
    fm_store_relaxed(&entry->active, 0);
    fm_doorbell_disarm(&entry->work);
    int result = fork_watched_patiently(monitor, worker);
    /* Without a nursery nobody was refused anything. */
    monitor->last_crash.as.crash.successor_error = result == -ECHILD ? 0 : -result;
    if (result < 0) {
        return false;
    }
    fm_store_relaxed(&entry->alive, 1);
    return true;
}

/* The worker can't write to its slots any more; this thread does in its stead. False if it has a
 * successor. */
static bool
settle_items(struct fm_monitor *monitor, unsigned worker, struct fm_exit exit)
{
    struct fm_board *board = monitor->board;
    monitor->last_crash = crash_value(monitor->workers[worker].pid, exit);
    monitor->last_crash.as.crash.setup_error =
        (int32_t)fm_load_relaxed(&board->roster.entries[worker].setup_error);
    fm_board_reclaim(board, worker);
    if (board->roster.last_words[worker].item != 0) {
        fm_recovery_settle_overdue(&monitor->recovery, worker);
    } else {
        fm_recovery_settle(&monitor->recovery, worker, &monitor->last_crash);
    }
    bool replaced = start_successor(monitor, worker);
    if (!replaced) {
        fm_recovery_abandon(&monitor->recovery, worker, &monitor->last_crash);
    }
    (void)fm_slots_rewind(&board->slots);
    /* Also where nothing was set back: the worker may have died before it rang one that waits, or
     * been rung in place of another. */
    fm_roster_call_all(&board->roster);
    return !replaced;
}

static void
settle_worker(struct fm_monitor *monitor, unsigned worker)
{
    struct fm_monitored *ended = &monitor->workers[worker];
    struct fm_board *board = monitor->board;
    struct fm_exit exit = collect_exit(monitor, ended);
    (void)close(ended->pidfd);
    ended->pidfd = -1;
    fm_store_relaxed(&board->roster.entries[worker].alive, 0);
    if (is_closing(monitor) || settle_items(monitor, worker, exit)) {
        /* Pairs with the acquire in fm_monitor_is_deserted. */
        fm_store_release(&monitor->alive, fm_load_relaxed(&monitor->alive) - 1);
    }
    fm_slots_ring_consumer(&board->slots);
}

static void
settle_nursery(struct fm_monitor *monitor)
{
    struct fm_monitored *ended = &monitor->nursery_process;
    if (ended->pidfd < 0) {
        return;
    }
    (void)fm_process_reap(ended->pid);
    (void)close(ended->pidfd);
    ended->pidfd = -1;
    monitor->nursery.usable = false;
}

/* ---- watching ---- */

static void
kill_one(const struct fm_monitored *process)
{
    if (process->pidfd >= 0) {
        fm_process_kill(process->pidfd, SIGKILL);
    }
}

static void
kill_workers(const struct fm_monitor *monitor)
{
    for (unsigned i = 0; i < monitor->count; i++) {
        kill_one(&monitor->workers[i]);
    }
}

static bool
is_anybody_left(const struct fm_monitor *monitor)
{
    return fm_load_relaxed(&monitor->alive) > 0 || monitor->nursery_process.pidfd >= 0;
}

/* Where the descriptors to poll stand: the workers' first, then these two. */
#define WATCHED_CLOSE(monitor) ((monitor)->count)
#define WATCHED_NURSERY(monitor) ((monitor)->count + 1)
#define WATCHED_COUNT(monitor) ((monitor)->count + 2)

/* The workers that live, the nursery and, until it was seen, the wish to close. */
static void
list_watched(const struct fm_monitor *monitor, struct pollfd *watched, bool closing)
{
    for (unsigned i = 0; i < monitor->count; i++) {
        watched[i] = (struct pollfd){.fd = monitor->workers[i].pidfd, .events = POLLIN};
    }
    int close_fd = closing ? -1 : monitor->close_fd;
    watched[WATCHED_CLOSE(monitor)] = (struct pollfd){.fd = close_fd, .events = POLLIN};
    watched[WATCHED_NURSERY(monitor)] =
        (struct pollfd){.fd = monitor->nursery_process.pidfd, .events = POLLIN};
}

/* Whether only time keeps a worker. One that runs nothing may not have come to say so: it may get no
 * CPU, or be stopped. */
static bool
is_finishing(const struct fm_monitor *monitor, unsigned worker)
{
    const struct fm_board *board = monitor->board;
    return !fm_roster_is_at_work(&board->roster, &board->slots, worker)
           || fm_load_relaxed(&board->roster.entries[worker].finishing) != 0;
}

static bool
is_any_finishing(const struct fm_monitor *monitor)
{
    for (unsigned i = 0; i < monitor->count; i++) {
        if (monitor->workers[i].pidfd >= 0 && is_finishing(monitor, i)) {
            return true;
        }
    }
    return false;
}

/* Asked to end, workers have a grace; then they are killed, and at last the nursery too, which by
 * itself waits for its children. */
static int
enforce_end(const struct fm_monitor *monitor, int64_t deadline)
{
    int64_t left = (deadline - fm_clock_now()) / FM_MILLISECOND;
    left += is_any_finishing(monitor) ? FM_FINISH_GRACE_MS : 0;
    if (left > 0) {
        return (int)left;
    }
    kill_workers(monitor);
    if (left < -KILL_GRACE_MS) {
        kill_one(&monitor->nursery_process);
    }
    return KILL_GRACE_MS;
}

static void
watch_workers(struct fm_monitor *monitor, struct pollfd *watched)
{
    int64_t deadline = 0; /* for the workers to end by themselves; 0: they needn't */
    while (is_anybody_left(monitor)) {
        int timeout = deadline > 0 ? enforce_end(monitor, deadline) : -1;
        list_watched(monitor, watched, deadline > 0);
        (void)poll(watched, WATCHED_COUNT(monitor), timeout);
        if (watched[WATCHED_CLOSE(monitor)].revents != 0) {
            deadline = fm_clock_now() + FM_CLOSE_GRACE_MS * FM_MILLISECOND;
        }
        if (watched[WATCHED_NURSERY(monitor)].revents != 0) {
            settle_nursery(monitor);
        }
        for (unsigned i = 0; i < monitor->count; i++) {
            if (watched[i].fd >= 0 && watched[i].revents != 0) {
                settle_worker(monitor, i);
            }
        }
    }
}

static void *
run_monitor(void *argument)
{
    struct fm_monitor *monitor = argument;
    struct pollfd watched[FM_MAX_WORKERS + 2];
    watch_workers(monitor, watched);
    /* Pairs with the acquire in fm_monitor_is_over. */
    fm_store_release(&monitor->over, 1);
    fm_slots_ring_consumer(&monitor->board->slots);
    return NULL;
}

int
fm_monitor_start(struct fm_monitor *monitor)
{
    fm_store_relaxed(&monitor->alive, monitor->count);
    int result = fm_thread_create_deaf(&monitor->thread, run_monitor, monitor);
    if (result == 0) {
        (void)pthread_setname_np(monitor->thread, FM_MONITOR_NAME);
        fm_store_relaxed(&monitor->board->slots.shared->watched, 1);
    } else {
        fm_board_end(monitor->board);
        kill_workers(monitor);
        kill_one(&monitor->nursery_process);
        for (unsigned i = 0; i < monitor->count; i++) {
            settle_worker(monitor, i);
        }
        settle_nursery(monitor);
    }
    return result;
}

void
fm_monitor_begin_stop(struct fm_monitor *monitor)
{
    (void)!write(monitor->close_write_fd, "", 1);
}

void
fm_monitor_stop(struct fm_monitor *monitor)
{
    fm_monitor_begin_stop(monitor);
    (void)pthread_join(monitor->thread, NULL);
}

static void
close_pidfd(const struct fm_monitored *process)
{
    if (process->pidfd >= 0) {
        (void)close(process->pidfd);
    }
}

void
fm_monitor_fini(struct fm_monitor *monitor)
{
    for (unsigned i = 0; i < monitor->count; i++) {
        close_pidfd(&monitor->workers[i]);
    }
    close_pidfd(&monitor->nursery_process);
    fm_nursery_fini(&monitor->nursery);
    fm_recovery_fini(&monitor->recovery);
    free(monitor->workers);
    (void)close(monitor->close_fd);
    close_writing_end(monitor);
}
