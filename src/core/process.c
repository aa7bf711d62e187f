#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int
fm_process_open(pid_t pid)
{
    long pidfd = syscall(SYS_pidfd_open, pid, 0);
    return pidfd >= 0 ? (int)pidfd : -errno;
}

bool
fm_process_has_ended(int pidfd)
{
    struct pollfd watched = {.fd = pidfd, .events = POLLIN};
    return poll(&watched, 1, 0) > 0;
}

void
fm_process_kill(int pidfd, int signal)
{
    (void)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

struct fm_exit
fm_process_reap(pid_t pid)
{
    struct fm_exit result = {0};
    int status;
    pid_t reaped;
    do {
        reaped = waitpid(pid, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    if (reaped == pid) {
        result.known = true;
        result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }
    return result;
}

/* Reads a small file of /proc as text; the number of bytes, or -1. */
static ssize_t
read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t length = read(fd, text, size - 1);
    (void)close(fd);
    if (length >= 0) {
        text[length] = '\0';
    }
    return length;
}

static bool
is_ours(const char *tid)
{
    char path[300];
    char name[32];
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", tid);
    if (read_text(path, name, sizeof name) <= 0) {
        return true; /* It has ended. */
    }
    name[strcspn(name, "\n")] = '\0';
    return strcmp(name, FM_MONITOR_NAME) == 0 || strcmp(name, FM_FEEDER_NAME) == 0
           || strcmp(name, FM_SUPERVISOR_NAME) == 0 || strcmp(name, FM_WAITER_NAME) == 0
           || strcmp(name, FM_LEAVING_NAME) == 0;
}

bool
fm_process_has_other_threads(void)
{
    bool found = false;
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL) {
        return false;
    }
    for (struct dirent *each = readdir(threads); each != NULL && !found; each = readdir(threads)) {
        found = each->d_name[0] != '.' && atoi(each->d_name) != (int)fm_process_thread_id()
                && !is_ours(each->d_name);
    }
    (void)closedir(threads);
    return found;
}

/* The line is `tid (name) state ...`, and the name may hold anything. */
bool
fm_process_thread_is_runnable(pid_t tid)
{
    char path[64];
    char text[512];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    if (read_text(path, text, sizeof text) <= 0) {
        return false;
    }
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'R';
}

void
fm_process_signal_thread(pid_t tid, int signal)
{
    (void)syscall(SYS_tgkill, getpid(), tid, signal);
}

void
fm_process_name_thread(const char *name)
{
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

pid_t
fm_process_thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* A static, since fork handlers get no argument. Written in a child before it has threads. */
static unsigned generation;

static void
enter_child(void)
{
    generation++;
}

int
fm_process_count_generations(void)
{
    return -pthread_atfork(NULL, NULL, enter_child);
}

unsigned
fm_process_generation(void)
{
    return generation;
}
