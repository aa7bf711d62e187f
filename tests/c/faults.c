#include "faults.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const char *const role_names[FAULT_ROLES] = {"parent", "thread", "nursery", "worker"};

static const char *const call_names[FAULT_CALLS] = {
    "mmap",         "malloc",     "calloc",     "fork",       "pthread_create", "pthread_attr_init",
    "poll",         "futex_wait", "futex_wake", "pidfd_open", "eventfd",        "pipe2",
    "memfd_create", "socketpair", "send",       "recv",       "waitpid",        "open",
    "read",         "pread",      "wait",
};

/* What each may plausibly give; the lists end with 0. */
static const int errors[FAULT_CALLS][4] = {
    [FAULT_MMAP] = {ENOMEM, EAGAIN},
    [FAULT_MALLOC] = {ENOMEM},
    [FAULT_CALLOC] = {ENOMEM},
    [FAULT_FORK] = {EAGAIN, ENOMEM},
    [FAULT_THREAD_CREATE] = {EAGAIN},
    [FAULT_THREAD_ATTRIBUTES] = {ENOMEM},
    [FAULT_POLL] = {EINTR, ENOMEM, EAGAIN},
    [FAULT_FUTEX_WAIT] = {EINTR, EAGAIN, ENOMEM},
    [FAULT_FUTEX_WAKE] = {ENOMEM, EAGAIN},
    [FAULT_PIDFD_OPEN] = {EMFILE, ENOMEM},
    [FAULT_EVENTFD] = {EMFILE, ENOMEM},
    [FAULT_PIPE] = {EMFILE, ENOMEM},
    [FAULT_MEMFD] = {EMFILE, ENOMEM},
    [FAULT_SOCKETPAIR] = {EMFILE, ENOMEM},
    [FAULT_SEND] = {EINTR, ENOMEM, EPIPE},
    [FAULT_RECV] = {EINTR, ENOMEM, ECONNRESET},
    [FAULT_WAITPID] = {EINTR, ECHILD},
    [FAULT_OPEN] = {EMFILE, ENOENT},
    [FAULT_READ] = {EINTR, EIO},
    [FAULT_PREAD] = {EINTR, EIO},
    [FAULT_WAIT] = {EINTR},
};

struct shared {
    struct fault fault;
    fm_atomic_u32 armed;
    fm_atomic_u32 counts[FAULT_ROLES][FAULT_CALLS];
    fm_atomic_u32 hits;
    fm_atomic_u32 allocated; /* by the parent and not freed yet; wraps around in between */
};

static struct shared *shared;
static enum fault_role process_role;

void
faults_arm(const struct fault *fault)
{
    shared = test_map(sizeof *shared);
    shared->fault = *fault;
    process_role = FAULT_PARENT;
    fm_store_relaxed(&shared->armed, 1);
}

struct fault_report
faults_disarm(void)
{
    struct fault_report report;
    fm_store_relaxed(&shared->armed, 0);
    CHECK_EQUAL(fm_load_relaxed(&shared->allocated), 0);
    report.hits = fm_load_relaxed(&shared->hits);
    for (unsigned i = 0; i < FAULT_ROLES * FAULT_CALLS; i++) {
        report.counts[i / FAULT_CALLS][i % FAULT_CALLS] =
            fm_load_relaxed(&shared->counts[i / FAULT_CALLS][i % FAULT_CALLS]);
    }
    return report;
}

/* ---- faults in words ---- */

void
faults_print(FILE *file, const struct fault *fault)
{
    (void)fprintf(file, "%s %s %u %d\n", role_names[fault->role], call_names[fault->call],
                  fault->nth, fault->error);
}

static unsigned
find_name(const char *const *names, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    check_fail(__FILE__, __LINE__, name);
}

struct fault
faults_read(char *const *words)
{
    return (struct fault){
        .role = find_name(role_names, FAULT_ROLES, words[0]),
        .call = find_name(call_names, FAULT_CALLS, words[1]),
        .nth = (uint32_t)strtoul(words[2], NULL, 10),
        .error = (int)strtol(words[3], NULL, 10),
    };
}

const char *
faults_call_name(enum fault_call call)
{
    return call_names[call];
}

void
faults_visit(const struct fault_report *counted,
             void (*visit)(void *context, const struct fault *fault), void *context)
{
    for (unsigned i = 0; i < FAULT_ROLES * FAULT_CALLS; i++) {
        struct fault fault = {.role = i / FAULT_CALLS, .call = i % FAULT_CALLS};
        uint32_t count = counted->counts[fault.role][fault.call];
        for (fault.nth = 1; fault.nth <= count; fault.nth++) {
            for (const int *error = errors[fault.call]; *error != 0; error++) {
                fault.error = *error;
                visit(context, &fault);
            }
        }
    }
}

/* ---- whether this call is the one ---- */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static enum fault_role
role_here(void)
{
    bool is_main = __real_syscall(SYS_gettid) == getpid();
    return process_role == FAULT_PARENT && !is_main ? FAULT_THREAD : process_role;
}

/* The error that this call is to give, which errno is set to as well; or 0. */
static int
fail(enum fault_call call)
{
    if (shared == NULL || !fm_load_relaxed(&shared->armed)) {
        return 0;
    }
    enum fault_role role = role_here();
    const struct fault *fault = &shared->fault;
    uint32_t number = fm_add_relaxed(&shared->counts[role][call], 1) + 1;
    if (role != fault->role || call != fault->call || number != fault->nth) {
        return 0;
    }
    (void)fm_add_relaxed(&shared->hits, 1);
    errno = fault->error;
    return fault->error;
}

/* ---- calls whose failing leaves nothing behind ---- */

/* Defines __wrap_<name>, which fails with `failure`. */
#define WRAP(call, type, name, failure, parameters, arguments)                                     \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fail(call) ? failure : __real_##name arguments;                                     \
    }

WRAP(FAULT_MMAP, void *, mmap, MAP_FAILED,
     (void *address, size_t size, int protection, int flags, int fd, off_t offset),
     (address, size, protection, flags, fd, offset))
WRAP(FAULT_POLL, int, poll, -1, (struct pollfd * fds, nfds_t count, int timeout),
     (fds, count, timeout))
WRAP(FAULT_EVENTFD, int, eventfd, -1, (unsigned value, int flags), (value, flags))
WRAP(FAULT_PIPE, int, pipe2, -1, (int fds[2], int flags), (fds, flags))
WRAP(FAULT_MEMFD, int, memfd_create, -1, (const char *name, unsigned flags), (name, flags))
WRAP(FAULT_SOCKETPAIR, int, socketpair, -1, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds))
WRAP(FAULT_SEND, ssize_t, send, -1, (int fd, const void *bytes, size_t size, int flags),
     (fd, bytes, size, flags))
WRAP(FAULT_RECV, ssize_t, recv, -1, (int fd, void *bytes, size_t size, int flags),
     (fd, bytes, size, flags))
WRAP(FAULT_READ, ssize_t, read, -1, (int fd, void *bytes, size_t size), (fd, bytes, size))
WRAP(FAULT_PREAD, ssize_t, pread, -1, (int fd, void *bytes, size_t size, off_t offset),
     (fd, bytes, size, offset))
WRAP(FAULT_WAIT, pid_t, wait, -1, (int *status), (status))
WRAP(FAULT_OPEN, int, open, -1, (const char *path, int flags), (path, flags))

/* ---- calls that return their error ---- */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __real_pthread_attr_init(pthread_attr_t *attributes);
int __wrap_pthread_attr_init(pthread_attr_t *attributes);

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                      void *argument)
{
    int error = fail(FAULT_THREAD_CREATE);
    return error != 0 ? error : __real_pthread_create(thread, attributes, run, argument);
}

int
__wrap_pthread_attr_init(pthread_attr_t *attributes)
{
    int error = fail(FAULT_THREAD_ATTRIBUTES);
    return error != 0 ? error : __real_pthread_attr_init(attributes);
}

/* ---- memory: the parent's comes back ---- */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);

static void
count_allocated(const void *memory, uint32_t change)
{
    if (shared != NULL && process_role == FAULT_PARENT && memory != NULL) {
        (void)fm_add_relaxed(&shared->allocated, change);
    }
}

void *
__wrap_malloc(size_t size)
{
    void *memory = fail(FAULT_MALLOC) ? NULL : __real_malloc(size);
    count_allocated(memory, 1);
    return memory;
}

void *
__wrap_calloc(size_t count, size_t size)
{
    void *memory = fail(FAULT_CALLOC) ? NULL : __real_calloc(count, size);
    count_allocated(memory, 1);
    return memory;
}

void
__wrap_free(void *memory)
{
    count_allocated(memory, UINT32_MAX);
    __real_free(memory);
}

/* ---- processes ---- */

struct fm_nursery;

pid_t __real_fork(void);
pid_t __wrap_fork(void);
void __real_fm_nursery_enter_nursery(struct fm_nursery *nursery);
void __wrap_fm_nursery_enter_nursery(struct fm_nursery *nursery);
pid_t __real_waitpid(pid_t pid, int *status, int options);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);

pid_t
__wrap_fork(void)
{
    pid_t pid = fail(FAULT_FORK) ? -1 : __real_fork();
    if (pid == 0) {
        process_role = FAULT_WORKER;
    }
    return pid;
}

void
__wrap_fm_nursery_enter_nursery(struct fm_nursery *nursery)
{
    process_role = FAULT_NURSERY;
    __real_fm_nursery_enter_nursery(nursery);
}

/* ECHILD says that somebody else was quicker, and then the child has gone. */
pid_t
__wrap_waitpid(pid_t pid, int *status, int options)
{
    int error = fail(FAULT_WAITPID);
    if (error == ECHILD) {
        (void)__real_waitpid(pid, status, options);
        errno = ECHILD;
    }
    return error != 0 ? -1 : __real_waitpid(pid, status, options);
}

/* ---- what has no function in the C library ---- */

static int
fail_syscall(long number, int operation)
{
    if (number == SYS_pidfd_open) {
        return fail(FAULT_PIDFD_OPEN);
    }
    if (number == SYS_futex) {
        return fail(operation == FUTEX_WAIT ? FAULT_FUTEX_WAIT : FAULT_FUTEX_WAKE);
    }
    return 0;
}

/* As syscall(2) itself: takes six arguments, whatever was passed. */
long
__wrap_syscall(long number, ...)
{
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (unsigned i = 0; i < 6; i++) {
        arguments[i] = va_arg(list, long);
    }
    va_end(list);
    if (fail_syscall(number, (int)arguments[1]) != 0) {
        return -1;
    }
    return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                          arguments[4], arguments[5]);
}
