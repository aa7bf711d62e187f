/* Time in nanoseconds. Any thread may call these; none of them can fail on a supported kernel. */
#ifndef FM_CLOCK_H
#define FM_CLOCK_H

#include <stdint.h>
#include <time.h>

#define FM_MICROSECOND INT64_C(1000)
#define FM_MILLISECOND INT64_C(1000000)
#define FM_SECOND INT64_C(1000000000)

/* CLOCK_MONOTONIC. */
int64_t fm_clock_now(void);

/* CPU time that all threads of this process have used. The kernel adds it up thread by thread, so
 * that a call costs microseconds where there are thousands of them. */
int64_t fm_clock_process_cpu(void);

/* CPU time of one thread of this process, by its pthread_getcpuclockid; 0 once it has gone. */
int64_t fm_clock_thread_cpu(clockid_t thread);

struct timespec fm_clock_timespec(int64_t ns);

#endif
