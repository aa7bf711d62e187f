#include "descriptor.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

static int
open_event(void)
{
    return eventfd(0, EFD_CLOEXEC);
}

static void
check_others_stay(void)
{
    int fd = open_event();
    CHECK(fd > STDERR_FILENO);
    CHECK_EQUAL(fm_descriptor_keep(fd), fd);
    (void)close(fd);
}

static void
check_errors_pass(void)
{
    int fds[2];
    errno = EMFILE;
    CHECK_EQUAL(fm_descriptor_keep(-1), -EMFILE);
    errno = ENFILE;
    CHECK_EQUAL(fm_descriptor_keep_pair(-1, fds), -ENFILE);
}

/* In a child, for what is printed has nowhere to go then. */
static void
keep_without_stdio(void *unused)
{
    (void)unused;
    int fds[2];
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        (void)close(fd);
    }
    int event = fm_descriptor_keep(open_event());
    int result = fm_descriptor_keep_pair(pipe2(fds, O_CLOEXEC), fds);
    bool kept = event > STDERR_FILENO && fcntl(event, F_GETFD) == FD_CLOEXEC && result == 0
                && fds[0] > STDERR_FILENO && fds[1] > STDERR_FILENO && write(fds[1], "x", 1) == 1;
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        kept = kept && fcntl(fd, F_GETFD) < 0;
    }
    _exit(kept ? 0 : 1);
}

/* There is room for two more, but for none beyond 2. */
static void
keep_without_room(void *unused)
{
    (void)unused;
    int fds[2];
    struct rlimit limit = {.rlim_cur = 4, .rlim_max = 4};
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    (void)dup2(2, 3);
    (void)close(0);
    (void)close(1);
    int single = fm_descriptor_keep(open_event());
    int pair = fm_descriptor_keep_pair(pipe2(fds, O_CLOEXEC), fds);
    bool closed = fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0;
    _exit(single == -EMFILE && pair == -EMFILE && closed ? 0 : 1);
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_others_stay();
    check_errors_pass();
    test_join(test_fork(keep_without_stdio, NULL));
    test_join(test_fork(keep_without_room, NULL));
    return 0;
}
