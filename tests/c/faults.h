/* Makes one call of the core to the system fail: the n-th of its kind in one kind of process.
 *
 * The linker puts the wrappers of faults.c between the core (and the tests' engine) and the C library.
 * They count in memory that all processes of a run share, so that "the third poll of the workers" is
 * the third of all of them.
 */
#ifndef FM_TEST_FAULTS_H
#define FM_TEST_FAULTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum fault_role {
    FAULT_PARENT, /* its main thread */
    FAULT_THREAD, /* the parent's others: the monitor and the feeder */
    FAULT_NURSERY,
    FAULT_WORKER,
    FAULT_ROLES
};

enum fault_call {
    FAULT_MMAP,
    FAULT_MALLOC,
    FAULT_CALLOC,
    FAULT_FORK,
    FAULT_THREAD_CREATE,
    FAULT_THREAD_ATTRIBUTES,
    FAULT_POLL,
    FAULT_FUTEX_WAIT,
    FAULT_FUTEX_WAKE,
    FAULT_PIDFD_OPEN,
    FAULT_EVENTFD,
    FAULT_PIPE,
    FAULT_MEMFD,
    FAULT_SOCKETPAIR,
    FAULT_SEND,
    FAULT_RECV,
    FAULT_WAITPID,
    FAULT_OPEN,
    FAULT_READ,
    FAULT_PREAD,
    FAULT_WAIT,
    FAULT_CALLS
};

struct fault {
    enum fault_role role;
    enum fault_call call;
    uint32_t nth; /* from 1; 0: none */
    int error;
};

/* What a run's processes share. */
struct fault_report {
    uint32_t counts[FAULT_ROLES][FAULT_CALLS];
    uint32_t hits; /* how often the fault came to pass: 0 or 1 */
};

/* From here on, in this process as the parent and in all that it forks, until faults_disarm. */
void faults_arm(const struct fault *fault);

/* What was counted; and what the parent has allocated through the core has been freed. */
struct fault_report faults_disarm(void);

/* Calls `visit` for every fault that could come to pass, with each error that the call may plausibly
 * give, going by the counts of a run without. */
void faults_visit(const struct fault_report *counted,
                  void (*visit)(void *context, const struct fault *fault), void *context);

/* As the four words "role call nth errno", which faults_read understands. */
void faults_print(FILE *file, const struct fault *fault);
struct fault faults_read(char *const *words);
const char *faults_call_name(enum fault_call call);

#endif
