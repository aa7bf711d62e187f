/* Sleeping on a 32-bit word of shared memory, across processes.
 *
 * Any thread of any process that has the word mapped may call these. They do not promise that a
 * wait ends only because of a wake: the caller looks at its condition again after each return.
 */
#ifndef FM_FUTEX_H
#define FM_FUTEX_H

#include "atomic.h"

#define FM_FOREVER INT64_C(-1)

/* Sleeps while *word == expected, for at most timeout_ns (FM_FOREVER: no limit).
 * 0: woken; -EAGAIN: the word had changed; -ETIMEDOUT; -EINTR: a signal arrived. */
int fm_futex_wait(fm_atomic_u32 *word, uint32_t expected, int64_t timeout_ns);

/* Wakes at most `count` sleepers and returns how many, or -errno. */
int fm_futex_wake(fm_atomic_u32 *word, int count);

#endif
