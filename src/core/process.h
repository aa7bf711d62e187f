/* Processes and threads as the kernel sees them. Any thread may call these. */
#ifndef FM_PROCESS_H
#define FM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A descriptor that polls as readable once the process has ended, or -errno. */
int fm_process_open(pid_t pid);

bool fm_process_has_ended(int pidfd);

void fm_process_kill(int pidfd, int signal);

/* How a process ended. `known` is false where somebody else had already asked the kernel for it
 * (the caller's own os.wait(), or a disposition of SIGCHLD that discards it). */
struct fm_exit {
    bool known;
    int code;   /* its exit status, where `signal` is 0 */
    int signal; /* the signal that killed it, or 0 */
};

/* Collects a child that has ended, so that it leaves no zombie. */
struct fm_exit fm_process_reap(pid_t pid);

/* Our own threads that never hold a lock of anybody else's, by which fm_process_has_other_threads
 * knows them. They are named by their creator, so that they bear their names from the first. */
#define FM_MONITOR_NAME "fm-monitor"
#define FM_FEEDER_NAME "fm-feeder"
#define FM_SUPERVISOR_NAME "fm-supervisor"
#define FM_WAITER_NAME "fm-waiter"
/* One that was the caller's code's, and has done with it. */
#define FM_LEAVING_NAME "fm-leaving"

/* Whether this process has threads besides the caller and those; false where /proc doesn't say. */
bool fm_process_has_other_threads(void);

/* Whether a thread of this process runs or could run, as opposed to one that sleeps; false where
 * /proc doesn't say. */
bool fm_process_thread_is_runnable(pid_t tid);

/* Sends a signal to one thread of this process. */
void fm_process_signal_thread(pid_t tid, int signal);

/* Whether a thread of this process is in its handler of that signal, which the kernel blocks for so
 * long; false where /proc doesn't say. */
bool fm_process_thread_handles(pid_t tid, int signal);

/* The calling thread's name as ps, top and py-spy show it (cut to 15 bytes). */
void fm_process_name_thread(const char *name);

pid_t fm_process_thread_id(void);

/* Tells a process from its forked children without a system call: grows by one in each child.
 * Counting starts with fm_process_count_generations; 0 or -errno. */
int fm_process_count_generations(void);
unsigned fm_process_generation(void);

#endif
