/* Threads, also where address space is short.
 *
 * A thread's stack takes address space, 8 MiB as a rule: with a limit on that (RLIMIT_AS, or strict
 * overcommitting) it may be what a thread fails for. Then a smaller stack is better than no thread,
 * though deep recursion of Python code may overrun it.
 */
#ifndef FM_THREAD_H
#define FM_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Like pthread_create, on a smaller stack where none of `stack_size` (0: the system's) is to be had;
 * 0 or -errno. */
int fm_thread_create(pthread_t *handle, size_t stack_size, void *(*run)(void *), void *argument);

/* The same for a thread of our own that takes no signals: they are others' to handle. */
int fm_thread_create_deaf(pthread_t *handle, void *(*run)(void *), void *argument);

/* How many threads of those `wanted` may be started now, so that at least as much address space as
 * their stacks take is left to what they will run, once malloc has reserved its arenas for them;
 * *stack_size is cut as needed to start more. Looks only at the address space, so that
 * fm_thread_create may yet fail. */
unsigned fm_thread_afford(unsigned wanted, size_t *stack_size);

#endif
