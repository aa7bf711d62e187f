#include "process.h"

#include "descriptor.h"

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
    return fm_descriptor_keep((int)syscall(SYS_pidfd_open, pid, 0));
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

struct thread_stat {
    char name[32];
    char state;
    unsigned flags;
};

/* The kernel's PF_EXITING, which it sets before it wakes who joins the thread. */
#define IS_EXITING 0x4

/* False if the thread has ended. The line is `tid (name) state ...`, and the name may hold anything. */
static bool
read_stat(int tid, struct thread_stat *stat)
{
    char path[64];
    char text[512];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    if (read_text(path, text, sizeof text) <= 0) {
        return false;
    }
    char *name = strchr(text, '(');
    char *name_end = strrchr(text, ')');
    if (name == NULL || name_end == NULL) {
        return false;
    }
    *name_end = '\0';
    (void)snprintf(stat->name, sizeof stat->name, "%s", name + 1);
    return sscanf(name_end + 1, " %c %*d %*d %*d %*d %*d %u", &stat->state, &stat->flags) == 2;
}

static bool
is_ours(const char *name)
{
    return strcmp(name, FM_MONITOR_NAME) == 0 || strcmp(name, FM_FEEDER_NAME) == 0
           || strcmp(name, FM_SUPERVISOR_NAME) == 0 || strcmp(name, FM_WAITER_NAME) == 0
           || strcmp(name, FM_LEAVING_NAME) == 0;
}

/* Of another thread of this process: that it is nobody else's, or about to be nobody's. */
static bool
is_harmless(int tid)
{
    struct thread_stat stat;
    return !read_stat(tid, &stat) || (stat.flags & IS_EXITING) != 0 || is_ours(stat.name);
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
        int tid = atoi(each->d_name); /* 0: the folder itself, or the one above */
        found = tid != 0 && tid != (int)fm_process_thread_id() && !is_harmless(tid);
    }
    (void)closedir(threads);
    return found;
}

bool
fm_process_thread_is_runnable(pid_t tid)
{
    struct thread_stat stat;
    return read_stat((int)tid, &stat) && stat.state == 'R';
}

void
fm_process_signal_thread(pid_t tid, int signal)
{
    (void)syscall(SYS_tgkill, getpid(), tid, signal);
}

bool
fm_process_thread_handles(pid_t tid, int signal)
{
    char path[64];
    char text[4096];
    unsigned long long blocked;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
    if (read_text(path, text, sizeof text) <= 0) {
        return false;
    }
    const char *line = strstr(text, "\nSigBlk:");
    return line != NULL && sscanf(line, "\nSigBlk: %llx", &blocked) == 1
           && (blocked >> (signal - 1) & 1) != 0;
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
