/* Preloaded into a program that runs under valgrind, to spare it two things:
 *
 * pidfds, which it has no notion of up to 3.19 at least: somebody outside (memcheck.py) opens them and
 * hands them over;
 * large mappings, since the search for leaks reads all that is mapped: they are refused, and the arena
 * makes do with a smaller one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define LARGEST_MAPPING ((size_t)64 << 20)

void *
mmap(void *address, size_t size, int protection, int flags, int descriptor, off_t offset)
{
    void *(*next)(void *, size_t, int, int, int, off_t);
    *(void **)&next = dlsym(RTLD_NEXT, "mmap");
    if (size > LARGEST_MAPPING) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return next(address, size, protection, flags, descriptor, offset);
}

static int
connect_to_broker(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv("FM_PIDFD_BROKER"));
    if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("no one opens pidfds");
        abort();
    }
    return connection;
}

/* -1 with errno if the broker sends none. */
static int
receive_descriptor(int connection)
{
    int error = ESRCH;
    int descriptor = -1;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec data = {.iov_base = &error, .iov_len = sizeof error};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t received = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (received > 0 && header != NULL) {
        memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    }
    errno = error;
    return descriptor;
}

static int
open_pidfd(pid_t pid)
{
    int connection = connect_to_broker();
    int descriptor = -1;
    if (write(connection, &pid, sizeof pid) == sizeof pid) {
        descriptor = receive_descriptor(connection);
    }
    (void)close(connection);
    return descriptor;
}

/* The kernel says whom a pidfd stands for, -1 once that one is gone. */
static int
signal_pidfd(int pidfd, int number)
{
    char path[64];
    char line[128];
    int pid = -1;
    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    FILE *info = fopen(path, "re");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        (void)sscanf(line, "Pid: %d", &pid);
    }
    if (info != NULL) {
        (void)fclose(info);
    }
    if (pid <= 0) {
        errno = ESRCH;
        return -1;
    }
    return kill(pid, number);
}

long
syscall(long number, ...)
{
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    if (number == SYS_pidfd_open) {
        return open_pidfd((pid_t)a[0]);
    }
    if (number == SYS_pidfd_send_signal) {
        return signal_pidfd((int)a[0], (int)a[1]);
    }
    long (*next)(long, ...);
    *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
