/* For LD_PRELOAD: makes one of the extension's calls to the system fail, the n-th of its kind, in the
 * process that asked for it or in those that it forks. failing_calls.py calls the functions at the
 * end, and knows the order of `enum call`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum call {
    CALL_FORK,
    CALL_PTHREAD_CREATE,
    CALL_MMAP,
    CALL_MEMFD_CREATE,
    CALL_EVENTFD,
    CALL_PIPE2,
    CALL_SOCKETPAIR,
    CALL_POLL,
    CALL_SEND,
    CALL_RECV,
    CALL_WAITPID,
    CALL_PIDFD_OPEN,
    CALL_FUTEX_WAIT,
    CALL_FUTEX_WAKE,
    CALLS
};

/* Shared with all processes that are forked. */
struct plan {
    uintptr_t begin; /* of the extension's code */
    uintptr_t end;
    pid_t parent;
    int call;
    bool in_children;
    unsigned nth; /* from 1; 0: never */
    int error;
    atomic_uint armed;
    atomic_uint counts[2][CALLS]; /* the parent's, the children's */
    atomic_uint hits;
};

static struct plan *plan;

/* The error to give, or 0. `caller` is NULL where it doesn't matter who calls. */
static int
fail(enum call call, const void *caller)
{
    if (plan == NULL || !atomic_load(&plan->armed)
        || (caller != NULL
            && ((uintptr_t)caller < plan->begin || (uintptr_t)caller >= plan->end))) {
        return 0;
    }
    bool in_child = getpid() != plan->parent;
    unsigned number = atomic_fetch_add(&plan->counts[in_child][call], 1) + 1;
    if ((int)call != plan->call || in_child != plan->in_children || number != plan->nth) {
        return 0;
    }
    atomic_fetch_add(&plan->hits, 1);
    errno = plan->error;
    return plan->error;
}

#define CALLER __builtin_return_address(0)

/* Defines the function, which fails with `failure` if the plan says so. */
#define INTERPOSE(call, caller, type, name, failure, parameters, arguments)                        \
    type name parameters                                                                           \
    {                                                                                              \
        static type(*real) parameters;                                                             \
        if (real == NULL) {                                                                        \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                                             \
        }                                                                                          \
        return fail(call, caller) != 0 ? failure : real arguments;                                 \
    }

INTERPOSE(CALL_FORK, CALLER, pid_t, fork, -1, (void), ())
INTERPOSE(CALL_PTHREAD_CREATE, CALLER, int, pthread_create, errno,
          (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *),
           void *argument),
          (thread, attributes, run, argument))
INTERPOSE(CALL_MMAP, CALLER, void *, mmap, MAP_FAILED,
          (void *address, size_t size, int protection, int flags, int fd, off_t offset),
          (address, size, protection, flags, fd, offset))
INTERPOSE(CALL_MEMFD_CREATE, NULL, int, memfd_create, -1, (const char *name, unsigned flags),
          (name, flags))
INTERPOSE(CALL_EVENTFD, CALLER, int, eventfd, -1, (unsigned value, int flags), (value, flags))
INTERPOSE(CALL_PIPE2, CALLER, int, pipe2, -1, (int fds[2], int flags), (fds, flags))
INTERPOSE(CALL_SOCKETPAIR, CALLER, int, socketpair, -1,
          (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))
INTERPOSE(CALL_POLL, CALLER, int, poll, -1, (struct pollfd * fds, nfds_t count, int timeout),
          (fds, count, timeout))
INTERPOSE(CALL_SEND, CALLER, ssize_t, send, -1, (int fd, const void *bytes, size_t size, int flags),
          (fd, bytes, size, flags))
INTERPOSE(CALL_RECV, CALLER, ssize_t, recv, -1, (int fd, void *bytes, size_t size, int flags),
          (fd, bytes, size, flags))
INTERPOSE(CALL_WAITPID, CALLER, pid_t, waitpid, -1, (pid_t pid, int *status, int options),
          (pid, status, options))

static int
fail_syscall(long number, int operation, const void *caller)
{
    if (number == SYS_pidfd_open) {
        return fail(CALL_PIDFD_OPEN, caller);
    }
    if (number == SYS_futex) {
        return fail(operation == FUTEX_WAIT ? CALL_FUTEX_WAIT : CALL_FUTEX_WAKE, caller);
    }
    return 0;
}

/* As the C library's: takes six arguments, whatever was passed. */
long
syscall(long number, ...)
{
    static long (*real)(long, ...);
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        arguments[i] = va_arg(list, long);
    }
    va_end(list);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    }
    if (fail_syscall(number, (int)arguments[1], CALLER) != 0) {
        return -1;
    }
    return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                arguments[5]);
}

/* ---- for failing_calls.py ---- */

/* The extension's code lies in [begin, end). */
void
faults_init(uintptr_t begin, uintptr_t end)
{
    plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    plan->begin = begin;
    plan->end = end;
}

void
faults_arm(int call, int in_children, unsigned nth, int error)
{
    plan->parent = getpid();
    plan->call = call;
    plan->in_children = in_children != 0;
    plan->nth = nth;
    plan->error = error;
    atomic_store(&plan->hits, 0);
    for (int i = 0; i < 2 * CALLS; i++) {
        atomic_store(&plan->counts[i / CALLS][i % CALLS], 0);
    }
    atomic_store(&plan->armed, 1);
}

/* How often the fault came to pass. */
unsigned
faults_disarm(void)
{
    atomic_store(&plan->armed, 0);
    return atomic_load(&plan->hits);
}

unsigned
faults_count(int call, int in_children)
{
    return atomic_load(&plan->counts[in_children != 0][call]);
}
