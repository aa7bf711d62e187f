/* Atomic access with the ordering in the name; the only file that spells out memory orders.
 *
 * Everything that more than one thread or process touches is declared with one of these types and
 * read and written through these names. An acquire in the project names, in a comment, the release
 * that it pairs with.
 */
#ifndef FM_ATOMIC_H
#define FM_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint32_t fm_atomic_u32;
typedef _Atomic uint64_t fm_atomic_u64;
typedef _Atomic(void *) fm_atomic_pointer;

_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LONG_LOCK_FREE == 2,
               "shared memory needs lock-free 32-bit and 64-bit atomics");

#define FM_CACHE_LINE 64
#define FM_CACHE_ALIGNED _Alignas(FM_CACHE_LINE)

#define fm_load_relaxed(field) atomic_load_explicit((field), memory_order_relaxed)
#define fm_load_acquire(field) atomic_load_explicit((field), memory_order_acquire)
#define fm_load_seq_cst(field) atomic_load_explicit((field), memory_order_seq_cst)
#define fm_store_relaxed(field, value) atomic_store_explicit((field), (value), memory_order_relaxed)
#define fm_store_release(field, value) atomic_store_explicit((field), (value), memory_order_release)
#define fm_store_seq_cst(field, value) atomic_store_explicit((field), (value), memory_order_seq_cst)
#define fm_add_relaxed(field, value)                                                               \
    atomic_fetch_add_explicit((field), (value), memory_order_relaxed)
#define fm_add_seq_cst(field, value)                                                               \
    atomic_fetch_add_explicit((field), (value), memory_order_seq_cst)
#define fm_sub_seq_cst(field, value)                                                               \
    atomic_fetch_sub_explicit((field), (value), memory_order_seq_cst)
#define fm_exchange_acquire(field, value)                                                          \
    atomic_exchange_explicit((field), (value), memory_order_acquire)

/* Compare-and-swap; on failure *expected holds what was found. */
#define fm_cas_relaxed(field, expected, desired)                                                   \
    atomic_compare_exchange_weak_explicit((field), (expected), (desired), memory_order_relaxed,    \
                                          memory_order_relaxed)
#define fm_cas_release(field, expected, desired)                                                   \
    atomic_compare_exchange_weak_explicit((field), (expected), (desired), memory_order_release,    \
                                          memory_order_relaxed)
#define fm_cas_seq_cst(field, expected, desired)                                                   \
    atomic_compare_exchange_strong_explicit((field), (expected), (desired), memory_order_seq_cst,  \
                                            memory_order_relaxed)

/* Orders the stores before it against the loads after it, between threads and processes. */
static inline void
fm_fence_seq_cst(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

/* The same, where a seq_cst read-modify-write came just before: on x86 that instruction was already
 * a full barrier, so that only the compiler has to be kept from reordering. */
static inline void
fm_fence_after_rmw(void)
{
#if defined(__x86_64__) || defined(__i386__)
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* Brings a cache line here, to be written soon, from whichever core has it. */
static inline void
fm_prefetch_to_write(const void *line)
{
#if defined(__x86_64__)
    /* The builtin asks for a copy that may only be read, unless the compiler may assume that the
     * processor knows this instruction; to those that don't it is a no-op. */
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

static inline void
fm_prefetch_to_read(const void *line)
{
    __builtin_prefetch(line, 0);
}

/* Orders this thread's own accesses for whoever looks at them after it was killed. */
static inline void
fm_signal_fence(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

#endif
