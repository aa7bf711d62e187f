#include "futex.h"

#include "clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int
fm_futex_wait(fm_atomic_u32 *word, uint32_t expected, int64_t timeout_ns)
{
    struct timespec timeout;
    struct timespec *limit = NULL;
    if (timeout_ns >= 0) {
        timeout = fm_clock_timespec(timeout_ns);
        limit = &timeout;
    }
    if (syscall(SYS_futex, word, FUTEX_WAIT, expected, limit, NULL, 0) == 0) {
        return 0;
    }
    return -errno;
}

int
fm_futex_wake(fm_atomic_u32 *word, int count)
{
    long woken;
    /* The kernel may be short of memory for a moment; who is not woken then may sleep for ever. */
    do {
        woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
    } while (woken < 0 && (errno == ENOMEM || errno == EAGAIN));
    return woken >= 0 ? (int)woken : -errno;
}
