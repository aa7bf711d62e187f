#include "monitor.h"

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define KILL_GRACE_MS 1000

int
fm_monitor_init(struct fm_monitor *monitor, struct fm_board *board, unsigned count)
{
    memset(monitor, 0, sizeof *monitor);
    monitor->board = board;
    monitor->close_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (monitor->close_fd < 0) {
        return -errno;
    }
    monitor->workers = calloc(count, sizeof *monitor->workers);
    if (monitor->workers == NULL) {
        (void)close(monitor->close_fd);
        return -ENOMEM;
    }
    return 0;
}

int
fm_monitor_add(struct fm_monitor *monitor, pid_t pid)
{
    int pidfd = fm_process_open(pid);
    if (pidfd < 0) {
        return pidfd;
    }
    monitor->workers[monitor->count++] = (struct fm_monitored){.pid = pid, .pidfd = pidfd};
    return 0;
}

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

/* The worker can't write to its slots any more; this thread does in its stead. */
static void
settle_lost_items(struct fm_monitor *monitor, unsigned worker)
{
    struct fm_slots *slots = &monitor->board->slots;
    uint64_t item = fm_load_acquire(&slots->shared->consumed);
    for (;;) {
        item = fm_slots_next_lost(slots, item, worker);
        if (item == FM_UNKNOWN_TOTAL) {
            return;
        }
        fm_slots_at(slots, item)->value = monitor->last_crash;
        fm_slots_complete(slots, item);
        item++;
    }
}

static void
settle_worker(struct fm_monitor *monitor, unsigned worker)
{
    struct fm_monitored *ended = &monitor->workers[worker];
    struct fm_board *board = monitor->board;
    struct fm_exit exit = fm_process_reap(ended->pid);
    (void)close(ended->pidfd);
    ended->pidfd = -1;
    fm_store_relaxed(&board->roster.entries[worker].alive, 0);
    if (!fm_load_acquire(&board->slots.shared->ended)) {
        monitor->last_crash = crash_value(ended->pid, exit);
        settle_lost_items(monitor, worker);
        if (fm_slots_rewind(&board->slots)) {
            fm_roster_call_all(&board->roster);
        }
    }
    /* Pairs with the acquire in fm_monitor_is_deserted. */
    fm_store_release(&monitor->alive, fm_load_relaxed(&monitor->alive) - 1);
    fm_doorbell_ring(&board->slots.shared->consumer);
}

/* Lists what to poll: the workers that live and, until it was seen, the wish to close. */
static void
list_watched(const struct fm_monitor *monitor, struct pollfd *watched, bool closing)
{
    for (unsigned i = 0; i < monitor->count; i++) {
        watched[i] = (struct pollfd){.fd = monitor->workers[i].pidfd, .events = POLLIN};
    }
    int close_fd = closing ? -1 : monitor->close_fd;
    watched[monitor->count] = (struct pollfd){.fd = close_fd, .events = POLLIN};
}

static void
kill_all(const struct fm_monitor *monitor)
{
    for (unsigned i = 0; i < monitor->count; i++) {
        if (monitor->workers[i].pidfd >= 0) {
            fm_process_kill(monitor->workers[i].pidfd, SIGKILL);
        }
    }
}

static void
watch_workers(struct fm_monitor *monitor, struct pollfd *watched)
{
    int64_t deadline = 0; /* for the workers to end by themselves; 0: they needn't */
    while (fm_load_relaxed(&monitor->alive) > 0) {
        int timeout = -1;
        if (deadline > 0) {
            int64_t left = (deadline - fm_clock_now()) / FM_MILLISECOND;
            if (left <= 0) {
                kill_all(monitor);
            }
            timeout = left > 0 ? (int)left : KILL_GRACE_MS;
        }
        list_watched(monitor, watched, deadline > 0);
        (void)poll(watched, monitor->count + 1, timeout);
        if (watched[monitor->count].revents != 0) {
            deadline = fm_clock_now() + FM_CLOSE_GRACE_MS * FM_MILLISECOND;
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
    struct pollfd watched[FM_MAX_WORKERS + 1];
    fm_process_name_thread("fm-monitor");
    watch_workers(monitor, watched);
    return NULL;
}

int
fm_monitor_start(struct fm_monitor *monitor)
{
    sigset_t all;
    sigset_t before;
    fm_store_relaxed(&monitor->alive, monitor->count);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&monitor->thread, NULL, run_monitor, monitor);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        kill_all(monitor);
        for (unsigned i = 0; i < monitor->count; i++) {
            settle_worker(monitor, i);
        }
    }
    return -result;
}

void
fm_monitor_stop(struct fm_monitor *monitor)
{
    (void)eventfd_write(monitor->close_fd, 1);
    (void)pthread_join(monitor->thread, NULL);
}

void
fm_monitor_fini(struct fm_monitor *monitor)
{
    for (unsigned i = 0; i < monitor->count; i++) {
        if (monitor->workers[i].pidfd >= 0) {
            (void)close(monitor->workers[i].pidfd);
        }
    }
    free(monitor->workers);
    (void)close(monitor->close_fd);
}
