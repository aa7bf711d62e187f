#include "support.h"

#include "doorbell.h"
#include "futex.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

/* ---- processes, threads, memory ---- */

pid_t
test_try_fork(void (*run)(void *), void *argument)
{
    pid_t parent = getpid();
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid != 0) {
        return pid > 0 ? pid : -errno;
    }
    (void)alarm(CHECK_TIME_LIMIT);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(CHECK_FAILED);
    }
    run(argument);
    (void)fflush(stdout);
    _exit(0);
}

pid_t
test_fork(void (*run)(void *), void *argument)
{
    pid_t pid = test_try_fork(run, argument);
    CHECK(pid > 0);
    return pid;
}

void
test_join_status(pid_t pid, int status)
{
    int found;
    CHECK_EQUAL(waitpid(pid, &found, 0), pid);
    if (WIFSIGNALED(found)) {
        (void)fprintf(stderr, "child %d was killed by signal %d\n", (int)pid, WTERMSIG(found));
        check_end();
    }
    if (status != CHECK_FAILED && WEXITSTATUS(found) == CHECK_FAILED) {
        check_end(); /* the child has said why */
    }
    CHECK_EQUAL(WEXITSTATUS(found), status);
}

void
test_join(pid_t pid)
{
    test_join_status(pid, 0);
}

#define LATE_MOST 4 /* times in a row */

static bool
is_late(pid_t pid)
{
    siginfo_t found = {0};
    CHECK_EQUAL(waitid(P_PID, (id_t)pid, &found, WEXITED | WNOWAIT), 0);
    return found.si_code == CLD_EXITED && found.si_status == CHECK_LATE;
}

void
test_run(const char *name, void (*run)(void *), void *argument)
{
    int64_t start = fm_clock_now();
    (void)alarm(0); /* the child has a limit of its own */
    pid_t pid = test_fork(run, argument);
    for (unsigned i = 0; i < LATE_MOST && is_late(pid); i++) {
        test_join_status(pid, CHECK_LATE);
        pid = test_fork(run, argument);
    }
    test_join(pid);
    (void)alarm(CHECK_TIME_LIMIT);
    (void)printf("%s: %.2f s\n", name, (double)(fm_clock_now() - start) / (double)FM_SECOND);
}

pthread_t
test_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, run, argument), 0);
    return thread;
}

void
test_join_thread(pthread_t thread)
{
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
}

void *
test_map(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

/* ---- chance and time ---- */

void
test_check_quick(int64_t start, int64_t most)
{
    int64_t took = fm_clock_now() - start;
    if (took >= most) {
        char why[64];
        (void)snprintf(why, sizeof why, "%lld ms, not less than %lld",
                       (long long)(took / FM_MILLISECOND), (long long)(most / FM_MILLISECOND));
        test_end_late(why);
    }
}

void
test_end_late(const char *why)
{
    (void)fprintf(stderr, "late: %s\n", why);
    (void)fflush(stdout);
    _exit(CHECK_LATE);
}

uint64_t
test_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D) >> 16;
}

void
test_burn(int64_t ns)
{
    int64_t end = fm_clock_now() + ns;
    while (fm_clock_now() < end) {
    }
}

void
test_sleep(int64_t ns)
{
    struct timespec left = fm_clock_timespec(ns);
    while (nanosleep(&left, &left) < 0 && errno == EINTR) {
    }
}

void
test_dawdle(uint64_t *state)
{
    uint64_t dice = test_random(state) % 256;
    if (dice >= 32) {
        return;
    }
    if (dice >= 8) {
        test_burn((int64_t)(test_random(state) % 1000));
    } else if (dice >= 1) {
        (void)sched_yield();
    } else {
        test_sleep((int64_t)(test_random(state) % 30) * FM_MICROSECOND);
    }
}

/* ---- the watch ---- */

#define STALLED (100 * FM_MILLISECOND)
#define GRACE FM_SECOND

struct watch {
    fm_atomic_u64 last_event;
    fm_atomic_u64 sleeps;
    fm_atomic_u64 lost;
    fm_atomic_u64 seed;
    int64_t grace;
    unsigned jitter;
    watch_is_due is_due;
    void *context;
};

static struct watch *watch;
static bool linked;

int __real_fm_futex_wait(fm_atomic_u32 *word, uint32_t expected, int64_t timeout_ns);
int __wrap_fm_futex_wait(fm_atomic_u32 *word, uint32_t expected, int64_t timeout_ns);
int __real_fm_futex_wake(fm_atomic_u32 *word, int count);
int __wrap_fm_futex_wake(fm_atomic_u32 *word, int count);
uint32_t __real_fm_doorbell_arm(struct fm_doorbell *bell, uint64_t wanted);
uint32_t __wrap_fm_doorbell_arm(struct fm_doorbell *bell, uint64_t wanted);
bool __real_fm_doorbell_answer(struct fm_doorbell *bell, uint64_t wanted);
bool __wrap_fm_doorbell_answer(struct fm_doorbell *bell, uint64_t wanted);

/* Nothing here may order memory for the code under test: the counter is relaxed. */
static void
jitter(void)
{
    if (watch == NULL || watch->jitter == 0) {
        return;
    }
    uint64_t state = (fm_load_relaxed(&watch->seed) + 1) * UINT64_C(0x9E3779B97F4A7C15) | 1;
    fm_store_relaxed(&watch->seed, state);
    if (test_random(&state) % watch->jitter == 0) {
        test_sleep((int64_t)(test_random(&state) % 200) * FM_MICROSECOND);
    }
}

static bool
is_due_and_stalled(const fm_atomic_u32 *word)
{
    return fm_clock_now() - (int64_t)fm_load_relaxed(&watch->last_event) > STALLED
           && watch->is_due(watch->context, word);
}

/* On a busy machine who is about to wake us may not get the CPU for long, perhaps after changing the
 * word already; a wake-up that is lost never comes. */
static bool
is_lost(fm_atomic_u32 *word)
{
    int result = -EAGAIN;
    while (result == -EAGAIN && is_due_and_stalled(word)) {
        result = __real_fm_futex_wait(word, fm_load_relaxed(word), watch->grace);
    }
    return result == -ETIMEDOUT && is_due_and_stalled(word);
}

int
__wrap_fm_futex_wait(fm_atomic_u32 *word, uint32_t expected, int64_t timeout_ns)
{
    jitter();
    int result = __real_fm_futex_wait(word, expected, timeout_ns);
    if (watch != NULL && result == 0) {
        (void)fm_add_relaxed(&watch->sleeps, 1);
    }
    if (watch != NULL && result == -ETIMEDOUT && timeout_ns == FM_DOORBELL_SLICE && is_lost(word)) {
        (void)fm_add_relaxed(&watch->lost, 1);
    }
    return result;
}

int
__wrap_fm_futex_wake(fm_atomic_u32 *word, int count)
{
    jitter();
    return __real_fm_futex_wake(word, count);
}

uint32_t
__wrap_fm_doorbell_arm(struct fm_doorbell *bell, uint64_t wanted)
{
    jitter();
    uint32_t ticket = __real_fm_doorbell_arm(bell, wanted);
    jitter();
    return ticket;
}

bool
__wrap_fm_doorbell_answer(struct fm_doorbell *bell, uint64_t wanted)
{
    jitter();
    return __real_fm_doorbell_answer(bell, wanted);
}

static bool
is_always_due(void *context, const fm_atomic_u32 *word)
{
    return context == word;
}

/* A build that links the core in another way, so that the wrappers are not called, would make
 * every test of wake-ups one that can't fail. */
void
watch_check_linked(void)
{
    struct fm_doorbell bell = {.rings = 0};
    watch = test_map(sizeof *watch);
    watch->is_due = is_always_due;
    watch->context = &bell.rings;
    uint32_t ticket = fm_doorbell_arm(&bell, 1);
    CHECK_EQUAL(fm_doorbell_wait(&bell, ticket, FM_FOREVER), -ETIMEDOUT);
    CHECK_EQUAL(fm_load_relaxed(&watch->lost), 1);
    linked = true;
    watch = NULL;
}

void
watch_begin(unsigned jitter_each, watch_is_due is_due, void *context)
{
    CHECK(linked);
    watch = test_map(sizeof *watch);
    watch->grace = GRACE;
    watch->jitter = jitter_each;
    watch->is_due = is_due;
    watch->context = context;
    watch_touch();
}

void
watch_touch(void)
{
    if (watch != NULL) {
        fm_store_relaxed(&watch->last_event, (uint64_t)fm_clock_now());
    }
}

uint64_t
watch_sleeps(void)
{
    return fm_load_relaxed(&watch->sleeps);
}

void
watch_end(void)
{
    CHECK_EQUAL(fm_load_relaxed(&watch->lost), 0);
}
