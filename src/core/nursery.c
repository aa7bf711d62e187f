#include "nursery.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A nursery that hasn't answered by then has been stopped, or starves. */
#define ANSWER_MOST_MS 10000

enum request_kind { REQUEST_FORK, REQUEST_REAP };

struct request {
    enum request_kind kind;
    unsigned worker; /* to fork */
    pid_t pid;       /* to reap */
};

struct answer {
    pid_t pid; /* or -errno */
    struct fm_exit exit;
};

int
fm_nursery_init(struct fm_nursery *nursery)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        return -errno;
    }
    *nursery = (struct fm_nursery){.parent_fd = fds[0], .nursery_fd = fds[1], .usable = true};
    return 0;
}

static void
close_end(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

void
fm_nursery_fini(struct fm_nursery *nursery)
{
    close_end(&nursery->parent_fd);
    close_end(&nursery->nursery_fd);
}

void
fm_nursery_enter_parent(struct fm_nursery *nursery)
{
    close_end(&nursery->nursery_fd);
}

void
fm_nursery_enter_nursery(struct fm_nursery *nursery)
{
    close_end(&nursery->parent_fd);
}

static struct answer
fulfil(const struct request *request, pid_t (*fork_worker)(void *context, unsigned worker),
       void *context)
{
    struct answer answer = {0};
    if (request->kind == REQUEST_FORK) {
        answer.pid = fork_worker(context, request->worker);
    } else {
        answer.exit = fm_process_reap(request->pid);
    }
    return answer;
}

void
fm_nursery_serve(struct fm_nursery *nursery, int parent_pidfd, int close_fd,
                 pid_t (*fork_worker)(void *context, unsigned worker), void *context)
{
    struct pollfd watched[] = {
        {.fd = parent_pidfd, .events = POLLIN},
        {.fd = close_fd, .events = POLLIN},
        {.fd = nursery->nursery_fd, .events = POLLIN},
    };
    for (;;) {
        struct request request;
        if (poll(watched, 3, -1) < 0) {
            continue;
        }
        if (watched[0].revents != 0 || watched[1].revents != 0) {
            break;
        }
        ssize_t size = recv(nursery->nursery_fd, &request, sizeof request, 0);
        if (size != (ssize_t)sizeof request) {
            break;
        }
        struct answer answer = fulfil(&request, fork_worker, context);
        (void)send(nursery->nursery_fd, &answer, sizeof answer, MSG_NOSIGNAL);
    }
    /* The children end for the same reason; the last of them leaves no zombie. */
    while (wait(NULL) > 0 || errno == EINTR) {
    }
}

static int
ask(struct fm_nursery *nursery, const struct request *request, struct answer *answer)
{
    struct pollfd watched = {.fd = nursery->parent_fd, .events = POLLIN};
    if (!nursery->usable) {
        return -ECHILD;
    }
    if (send(nursery->parent_fd, request, sizeof *request, MSG_NOSIGNAL) < 0
        || poll(&watched, 1, ANSWER_MOST_MS) <= 0
        || recv(nursery->parent_fd, answer, sizeof *answer, 0) != (ssize_t)sizeof *answer) {
        nursery->usable = false;
        return -ECHILD;
    }
    return 0;
}

pid_t
fm_nursery_fork(struct fm_nursery *nursery, unsigned worker)
{
    struct answer answer;
    struct request request = {.kind = REQUEST_FORK, .worker = worker};
    int result = ask(nursery, &request, &answer);
    return result < 0 ? result : answer.pid;
}

struct fm_exit
fm_nursery_reap(struct fm_nursery *nursery, pid_t pid)
{
    struct answer answer = {0};
    struct request request = {.kind = REQUEST_REAP, .pid = pid};
    (void)ask(nursery, &request, &answer);
    return answer.exit;
}
