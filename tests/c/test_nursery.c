#include "nursery.h"

#include "support.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* Workers by number: up to 255 exit with it, one waits, one can't be forked, one kills itself. */
#define WAITS 300
#define FAILS 301
#define KILLED 302

struct cradle {
    struct fm_nursery nursery;
    int parent_pidfd;
    int close_fd;
    pid_t pid;
    int pidfd;
};

static void
live(void *argument)
{
    unsigned worker = *(unsigned *)argument;
    if (worker == KILLED) {
        (void)raise(SIGTERM);
    }
    while (worker == WAITS) {
        (void)pause();
    }
    _exit((int)worker);
}

static pid_t
fork_worker(void *context, unsigned worker)
{
    CHECK_EQUAL(*(uint64_t *)context, 4711);
    if (worker == FAILS) {
        return -EAGAIN;
    }
    return test_fork(live, &worker);
}

static void
serve(void *argument)
{
    struct cradle *cradle = argument;
    uint64_t context = 4711;
    /* That it ends with its parent is its own affair. */
    (void)prctl(PR_SET_PDEATHSIG, 0);
    fm_nursery_enter_nursery(&cradle->nursery);
    fm_nursery_serve(&cradle->nursery, cradle->parent_pidfd, cradle->close_fd, fork_worker,
                     &context);
    CHECK_EQUAL(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    _exit(7);
}

static struct cradle *
make_cradle(void)
{
    static struct cradle cradle;
    CHECK_EQUAL(fm_nursery_init(&cradle.nursery), 0);
    CHECK(cradle.nursery.usable);
    cradle.parent_pidfd = fm_process_open(getpid());
    cradle.close_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cradle.pid = test_fork(serve, &cradle);
    fm_nursery_enter_parent(&cradle.nursery);
    cradle.pidfd = fm_process_open(cradle.pid);
    CHECK(cradle.pidfd >= 0);
    return &cradle;
}

static void
drop_cradle(struct cradle *cradle)
{
    fm_nursery_fini(&cradle->nursery);
    (void)close(cradle->pidfd);
    (void)close(cradle->close_fd);
    (void)close(cradle->parent_pidfd);
}

static void
await_end(pid_t pid)
{
    int pidfd = fm_process_open(pid);
    CHECK(pidfd >= 0);
    struct pollfd watched = {.fd = pidfd, .events = POLLIN};
    CHECK_EQUAL(poll(&watched, 1, 5000), 1);
    (void)close(pidfd);
}

static void
check_exits(void)
{
    struct cradle *cradle = make_cradle();
    for (unsigned worker = 0; worker < 256; worker += 5) {
        pid_t pid = fm_nursery_fork(&cradle->nursery, worker);
        CHECK(pid > 0);
        await_end(pid);
        CHECK_EQUAL(waitpid(pid, NULL, WNOHANG), -1); /* not ours */
        struct fm_exit how = fm_nursery_reap(&cradle->nursery, pid);
        CHECK(how.known);
        CHECK_EQUAL(how.code, worker);
        CHECK_EQUAL(how.signal, 0);
        CHECK(fm_process_open(pid) < 0);
    }
    pid_t pid = fm_nursery_fork(&cradle->nursery, KILLED);
    struct fm_exit how = fm_nursery_reap(&cradle->nursery, pid);
    CHECK_EQUAL(how.signal, SIGTERM);
    CHECK_EQUAL(fm_nursery_fork(&cradle->nursery, FAILS), -EAGAIN);
    CHECK(cradle->nursery.usable);
    CHECK(fm_nursery_fork(&cradle->nursery, 1) > 0);
    CHECK(!fm_nursery_reap(&cradle->nursery, getpid()).known);
    (void)eventfd_write(cradle->close_fd, 1);
    test_join_status(cradle->pid, 7);
    drop_cradle(cradle);
}

/* It goes when it is asked to, but not before its last child, which it leaves to others to end. */
static void
check_close(void)
{
    struct cradle *cradle = make_cradle();
    pid_t pid = fm_nursery_fork(&cradle->nursery, WAITS);
    CHECK(pid > 0);
    (void)eventfd_write(cradle->close_fd, 1);
    test_sleep(30 * FM_MILLISECOND);
    CHECK(!fm_process_has_ended(cradle->pidfd));
    CHECK_EQUAL(kill(pid, SIGKILL), 0);
    test_join_status(cradle->pid, 7);
    drop_cradle(cradle);
}

static void
check_socket_closed(void)
{
    struct cradle *cradle = make_cradle();
    fm_nursery_fini(&cradle->nursery);
    test_join_status(cradle->pid, 7);
    drop_cradle(cradle);
}

/* A nursery that was killed is noticed, at once and for good. */
static void
check_killed(bool before_asking)
{
    struct cradle *cradle = make_cradle();
    int status;
    pid_t pid = fm_nursery_fork(&cradle->nursery, WAITS);
    CHECK(pid > 0);
    CHECK_EQUAL(kill(cradle->pid, before_asking ? SIGKILL : SIGSTOP), 0);
    pid_t killer = 0;
    if (before_asking) {
        CHECK_EQUAL(waitpid(cradle->pid, &status, 0), cradle->pid);
    } else {
        killer = fork();
        CHECK(killer >= 0);
        if (killer == 0) {
            test_sleep(50 * FM_MILLISECOND);
            _exit(kill(cradle->pid, SIGKILL));
        }
    }
    int64_t start = fm_clock_now();
    CHECK_EQUAL(fm_nursery_fork(&cradle->nursery, 1), -ECHILD);
    CHECK(!cradle->nursery.usable);
    CHECK(!fm_nursery_reap(&cradle->nursery, pid).known);
    CHECK(fm_clock_now() - start < FM_SECOND);
    if (!before_asking) {
        CHECK_EQUAL(waitpid(cradle->pid, &status, 0), cradle->pid);
        test_join(killer);
    }
    drop_cradle(cradle);
}

struct orphanage {
    fm_atomic_u32 nursery;
};

static void
start_and_die(void *argument)
{
    struct orphanage *orphanage = argument;
    struct cradle *cradle = make_cradle();
    CHECK(fm_nursery_fork(&cradle->nursery, 1) > 0); /* Who answers has begun to serve. */
    fm_store_release(&orphanage->nursery, (uint32_t)cradle->pid);
    for (;;) {
        (void)pause();
    }
}

static void
check_parent_dies(void *ignored)
{
    struct orphanage *orphanage = test_map(sizeof *orphanage);
    int status;
    (void)ignored;
    CHECK_EQUAL(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t parent = test_fork(start_and_die, orphanage);
    while (fm_load_acquire(&orphanage->nursery) == 0) {
        test_sleep(FM_MILLISECOND);
    }
    pid_t nursery = (pid_t)fm_load_acquire(&orphanage->nursery);
    CHECK_EQUAL(kill(parent, SIGKILL), 0);
    CHECK_EQUAL(waitpid(parent, &status, 0), parent);
    test_join_status(nursery, 7);
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_exits();
    check_close();
    check_socket_closed();
    check_killed(true);
    check_killed(false);
    test_run("parent dies", check_parent_dies, NULL);
    return 0;
}
