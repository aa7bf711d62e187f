#include "nursery.h"

#include "descriptor.h"

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
    int result =
        fm_descriptor_keep_pair(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), fds);
    if (result == 0) {
        *nursery = (struct fm_nursery){.parent_fd = fds[0], .nursery_fd = fds[1], .usable = true};
    }
    return result;
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

/* ---- messages, which arrive whole or not at all ---- */

static bool
send_message(int fd, const void *message, size_t size)
{
    ssize_t sent;
    do {
        sent = send(fd, message, size, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)size;
}

static bool
receive_message(int fd, void *message, size_t size)
{
    ssize_t received;
    do {
        received = recv(fd, message, size, 0);
    } while (received < 0 && errno == EINTR);
    return received == (ssize_t)size;
}

/* False if nothing came for so long. */
static bool
await_message(int fd, int most_ms)
{
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&watched, 1, most_ms);
    } while (ready < 0 && (errno == EINTR || errno == EAGAIN));
    return ready > 0;
}

/* ---- the nursery's side ---- */

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
        if (!receive_message(nursery->nursery_fd, &request, sizeof request)) {
            break;
        }
        struct answer answer = fulfil(&request, fork_worker, context);
        if (!send_message(nursery->nursery_fd, &answer, sizeof answer)) {
            break;
        }
    }
    /* Nobody shall wait for an answer any more. */
    close_end(&nursery->nursery_fd);
    /* The children end for the same reason; the last of them leaves no zombie. */
    while (wait(NULL) > 0 || errno == EINTR) {
    }
}

/* ---- the monitor's side ---- */

static int
ask(struct fm_nursery *nursery, const struct request *request, struct answer *answer)
{
    if (!nursery->usable) {
        return -ECHILD;
    }
    int fd = nursery->parent_fd;
    if (!send_message(fd, request, sizeof *request) || !await_message(fd, ANSWER_MOST_MS)
        || !receive_message(fd, answer, sizeof *answer)) {
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
