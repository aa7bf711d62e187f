#include "futex.h"
#include "process.h"

#include "clock.h"
#include "support.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static void
sleep_on(void *argument)
{
    (void)argument;
    for (;;) {
        (void)pause();
    }
}

static void
exit_with(void *argument)
{
    _exit(*(int *)argument);
}

static int
open_child(pid_t pid)
{
    int pidfd = fm_process_open(pid);
    CHECK(pidfd >= 0);
    return pidfd;
}

static void
wait_for_end(int pidfd)
{
    struct pollfd watched = {.fd = pidfd, .events = POLLIN};
    CHECK_EQUAL(poll(&watched, 1, 5000), 1);
    CHECK(fm_process_has_ended(pidfd));
}

static void
check_killed(int signal)
{
    pid_t pid = test_fork(sleep_on, NULL);
    int pidfd = open_child(pid);
    CHECK(!fm_process_has_ended(pidfd));
    fm_process_kill(pidfd, signal);
    wait_for_end(pidfd);
    struct fm_exit result = fm_process_reap(pid);
    CHECK(result.known);
    CHECK_EQUAL(result.signal, signal);
    CHECK_EQUAL(result.code, 0);
    CHECK_EQUAL(kill(pid, 0), -1);   /* no zombie is left */
    fm_process_kill(pidfd, SIGKILL); /* harmless by now */
    CHECK(fm_process_has_ended(pidfd));
    (void)close(pidfd);
}

static void
check_exited(int code)
{
    pid_t pid = test_fork(exit_with, &code);
    int pidfd = open_child(pid);
    wait_for_end(pidfd);
    struct fm_exit result = fm_process_reap(pid);
    CHECK(result.known);
    CHECK_EQUAL(result.code, code);
    CHECK_EQUAL(result.signal, 0);
    (void)close(pidfd);
}

static void
check_reaped_by_somebody_else(void)
{
    int code = 3;
    int status;
    pid_t pid = test_fork(exit_with, &code);
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(!fm_process_reap(pid).known);
    CHECK_EQUAL(fm_process_open(pid), -ESRCH);
}

static void
check_children_discarded(void *ignored)
{
    int code = 3;
    (void)ignored;
    (void)signal(SIGCHLD, SIG_IGN);
    pid_t pid = test_fork(exit_with, &code);
    CHECK(!fm_process_reap(pid).known);
    while (kill(pid, 0) == 0) { /* but it was waited for, and is gone within moments */
        test_sleep(FM_MILLISECOND);
    }
}

static void
handle_alarm(int number)
{
    (void)number;
}

static void
check_reap_interrupted(void *ignored)
{
    int code = 4;
    (void)ignored;
    struct sigaction action = {.sa_handler = handle_alarm};
    CHECK_EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
    pid_t pid = test_fork(sleep_on, NULL);
    pid_t sender = fork();
    CHECK(sender >= 0);
    if (sender == 0) {
        for (int i = 0; i < 20; i++) {
            test_sleep(FM_MILLISECOND);
            (void)kill(getppid(), SIGUSR1);
        }
        (void)kill(pid, SIGTERM);
        _exit(code);
    }
    CHECK_EQUAL(fm_process_reap(pid).signal, SIGTERM);
    CHECK_EQUAL(fm_process_reap(sender).code, code);
}

/* ---- threads ---- */

struct bystander {
    fm_atomic_u32 tid;
    fm_atomic_u32 stop;
    bool burns;
};

static void *
stand_by(void *argument)
{
    struct bystander *self = argument;
    fm_process_name_thread("R) R (fm-a-long-name-that-is-cut");
    fm_store_release(&self->tid, (uint32_t)fm_process_thread_id());
    while (!fm_load_acquire(&self->stop)) {
        if (self->burns) {
            test_burn(100 * FM_MICROSECOND);
        } else {
            (void)fm_futex_wait(&self->stop, 0, FM_FOREVER);
        }
    }
    return NULL;
}

static void
check_name(pid_t tid, const char *expected)
{
    char path[64];
    char name[32] = "";
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)tid);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK(fgets(name, sizeof name, file) != NULL);
    (void)fclose(file);
    name[strcspn(name, "\n")] = '\0';
    CHECK_EQUAL(strcmp(name, expected), 0);
}

static unsigned
times_runnable(pid_t tid, unsigned looks)
{
    unsigned times = 0;
    for (unsigned i = 0; i < looks; i++) {
        times += fm_process_thread_is_runnable(tid);
        test_sleep(FM_MILLISECOND);
    }
    return times;
}

/* A thread that computes is runnable whether or not it has a CPU; one that sleeps is not, but for
 * its way there. */
static void
check_bystander(bool burns)
{
    struct bystander bystander = {.burns = burns};
    struct bystander first = {.stop = 1}; /* with it comes a sanitizer's own thread */
    test_join_thread(test_thread(stand_by, &first));
    pthread_t thread = test_thread(stand_by, &bystander);
    while (fm_load_acquire(&bystander.tid) == 0) {
        test_sleep(FM_MILLISECOND);
    }
    pid_t tid = (pid_t)fm_load_acquire(&bystander.tid);
    CHECK(tid != fm_process_thread_id());
    check_name(tid, "R) R (fm-a-long");
    while (!burns && fm_process_thread_is_runnable(tid)) {
        test_sleep(FM_MILLISECOND); /* It may get no CPU on its way to sleep. */
    }
    unsigned times = times_runnable(tid, 100);
    CHECK(burns ? times > 80 : times < 20);
    fm_store_release(&bystander.stop, 1);
    (void)fm_futex_wake(&bystander.stop, 1);
    test_join_thread(thread);
}

static void *
end_at_once(void *ignored)
{
    fm_process_name_thread("fm-other");
    return ignored;
}

/* In a process of its own, for a sanitizer may have threads too: only the comparison tells. */
static void
check_other_threads(void *ignored)
{
    (void)ignored;
    struct bystander bystander = {.burns = false};
    if (fm_process_has_other_threads()) {
        return;
    }
    pthread_t thread = test_thread(stand_by, &bystander);
    CHECK(fm_process_has_other_threads());
    while (fm_load_acquire(&bystander.tid) == 0) {
        test_sleep(FM_MILLISECOND); /* It names itself before that. */
    }
    CHECK_EQUAL(pthread_setname_np(thread, FM_MONITOR_NAME), 0);
    CHECK(!fm_process_has_other_threads());
    CHECK_EQUAL(pthread_setname_np(thread, "fm-other"), 0);
    CHECK(fm_process_has_other_threads());
    fm_store_release(&bystander.stop, 1);
    (void)fm_futex_wake(&bystander.stop, 1);
    test_join_thread(thread);
    CHECK(!fm_process_has_other_threads());
    for (int i = 0; i < 1000; i++) { /* The kernel may still be at it when the join returns. */
        test_join_thread(test_thread(end_at_once, NULL));
        CHECK(!fm_process_has_other_threads());
    }
}

static fm_atomic_u32 handler_entered;
static fm_atomic_u32 handler_may_end;

static void
stay_in_handler(int signal)
{
    (void)signal;
    fm_store_release(&handler_entered, 1);
    while (fm_load_acquire(&handler_may_end) == 0) {
        test_sleep(FM_MILLISECOND);
    }
}

/* TSan calls handlers from libc's functions only. */
static void *
take_naps(void *argument)
{
    struct bystander *self = argument;
    fm_store_release(&self->tid, (uint32_t)fm_process_thread_id());
    while (!fm_load_acquire(&self->stop)) {
        test_sleep(FM_MILLISECOND);
    }
    return NULL;
}

static void
check_handler(void)
{
    struct bystander bystander = {.burns = false};
    struct sigaction action = {.sa_handler = stay_in_handler, .sa_flags = SA_RESTART};
    CHECK_EQUAL(sigaction(SIGRTMAX, &action, NULL), 0);
    pthread_t thread = test_thread(take_naps, &bystander);
    while (fm_load_acquire(&bystander.tid) == 0) {
        test_sleep(FM_MILLISECOND);
    }
    pid_t tid = (pid_t)fm_load_acquire(&bystander.tid);
    CHECK(!fm_process_thread_handles(tid, SIGRTMAX));
    fm_process_signal_thread(tid, SIGRTMAX);
    while (fm_load_acquire(&handler_entered) == 0) {
        test_sleep(FM_MILLISECOND);
    }
    CHECK(fm_process_thread_handles(tid, SIGRTMAX));
    CHECK(!fm_process_thread_handles(fm_process_thread_id(), SIGRTMAX));
    fm_store_release(&handler_may_end, 1);
    while (fm_process_thread_handles(tid, SIGRTMAX)) {
        test_sleep(FM_MILLISECOND); /* It ends within the time limit. */
    }
    fm_store_release(&bystander.stop, 1);
    test_join_thread(thread);
    CHECK(!fm_process_thread_handles(tid, SIGRTMAX));
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_killed(SIGKILL);
    check_killed(SIGTERM);
    check_exited(0);
    check_exited(1);
    check_exited(255);
    check_reaped_by_somebody_else();
    test_run("SIGCHLD ignored", check_children_discarded, NULL);
    test_run("reaping interrupted", check_reap_interrupted, NULL);
    CHECK_EQUAL(fm_process_thread_id(), getpid());
    test_run("other threads", check_other_threads, NULL);
    check_bystander(false);
    check_bystander(true);
    check_handler();
    CHECK(fm_process_thread_is_runnable(fm_process_thread_id()));
    CHECK(!fm_process_thread_is_runnable(0x7ffffff0));
    CHECK(fm_process_open(0x7ffffff0) < 0);
    return 0;
}
