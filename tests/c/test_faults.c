/* Whole engines, of which one call to the system fails: each call, the first, the second, and so on,
 * with each error that it may give.
 *
 *     test_faults                                      all, within a budget
 *     test_faults SEED                                 with that choice where there are too many
 *     test_faults SCENARIO ROLE CALL NTH ERROR         one, as a failure names it
 */
#include "engine.h"
#include "faults.h"
#include "footprint.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define POISON 9 /* kills the process that runs it first */
#define STUCK 11 /* never ends */

#define HANG_LIMIT 60 /* seconds that a run may take */
#define AT_A_TIME 6   /* runs, which mostly wait */
#define SEED_DEFAULT 1

/* ---- what is run ---- */

static void
run_quickly(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    test_sleep(item % 4 == 3 ? 2 * FM_MILLISECOND : 0);
}

static void
run_poison(struct engine *engine, unsigned worker, uint64_t item)
{
    if (item == POISON && fm_add_relaxed(&engine->shared->flags[0], 1) == 0) {
        (void)raise(SIGKILL);
    }
    run_quickly(engine, worker, item);
}

static void
run_stuck(struct engine *engine, unsigned worker, uint64_t item)
{
    if (item == STUCK) {
        test_sleep(100 * FM_SECOND);
    }
    run_poison(engine, worker, item);
}

struct scenario {
    const char *name;
    void (*run)(struct engine *engine, unsigned worker, uint64_t item);
    bool inherited;
    bool alone;    /* one worker, not two */
    bool replaces; /* as retries do too */
    uint64_t retries;
    int64_t task_timeout;
    uint64_t payload;
    uint64_t taken;  /* results, before it is closed; 0: all */
    unsigned budget; /* runs */
};

static const struct scenario scenarios[] = {
    {.name = "fed", .run = run_quickly, .budget = 120},
    {.name = "inherited", .run = run_quickly, .inherited = true, .budget = 100},
    {.name = "alone", .run = run_quickly, .alone = true, .payload = 3000, .budget = 120},
    {.name = "blocks", .run = run_quickly, .payload = 3000, .budget = 150},
    {.name = "poisoned", .run = run_poison, .payload = 3000, .budget = 120},
    {.name = "replaced", .run = run_poison, .inherited = true, .replaces = true, .budget = 150},
    {.name = "retried", .run = run_poison, .retries = 2, .payload = 3000, .budget = 200},
    {.name = "retried_alone",
     .run = run_poison,
     .inherited = true,
     .alone = true,
     .retries = 2,
     .payload = 3000,
     .budget = 150},
    {.name = "timed",
     .run = run_stuck,
     .inherited = true,
     .retries = 2,
     .task_timeout = 400 * FM_MILLISECOND,
     .budget = 15},
    {.name = "timed_fed",
     .run = run_stuck,
     .retries = 1,
     .task_timeout = 400 * FM_MILLISECOND,
     .payload = 3000,
     .budget = 15},
    {.name = "closed",
     .run = run_stuck,
     .replaces = true,
     .payload = 3000,
     .taken = STUCK,
     .budget = 100},
};

/* ThreadSanitizer doesn't see that a block came back by way of another process. */
#ifdef __SANITIZE_THREAD__
#define HAS_BLOCKS 0
#else
#define HAS_BLOCKS 1
#endif

#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

static unsigned
worker_count(const struct scenario *scenario)
{
    return scenario->alone ? 1 : 2;
}

static bool
is_replacing(const struct scenario *scenario)
{
    return scenario->replaces || scenario->retries > 0;
}

static struct engine_options
options_of(const struct scenario *scenario)
{
    return (struct engine_options){
        .workers = worker_count(scenario),
        .threads = 1,
        .threads_limit = 4,
        .items = 40,
        .buffersize = 16,
        .inherited = scenario->inherited,
        .forked = true,
        .supervised = true,
        .replaces = is_replacing(scenario),
        .retries = scenario->retries,
        .repeats = scenario->task_timeout > 0,
        .task_timeout = scenario->task_timeout,
        .payload = HAS_BLOCKS * scenario->payload,
        .arena_limit = 8 * (scenario->payload + 1),
        .may_fail = true,
        .run = scenario->run,
    };
}

/* ---- one run ---- */

/* The engine's own memory for the test is still there, and that of faults.c. */
static void
check_footprint(const struct engine *engine, const struct footprint *before)
{
    struct footprint after = footprint_now();
    int64_t deadline = fm_clock_now() + 2 * FM_SECOND;
    while (after.threads > before->threads && fm_clock_now() < deadline) {
        test_sleep(FM_MILLISECOND); /* a joined thread may show for a moment */
        after = footprint_now();
    }
    CHECK_EQUAL(after.descriptors, before->descriptors);
    CHECK_EQUAL(after.threads, before->threads);
    CHECK_EQUAL(after.mappings, before->mappings + 1 + (engine->shared != NULL));
    engine_check_no_children();
}

struct run {
    const struct scenario *scenario;
    struct fault fault;
    struct fault_report *report; /* shared with the process that runs it */
};

/* What successors take: a nursery, its socket, and a monitor that can watch them. One failure to
 * fork or to watch is not the last word. */
static bool
is_successor_lost(const struct fault *fault)
{
    bool asks = fault->call == FAULT_SEND || fault->call == FAULT_RECV;
    bool waits = fault->call == FAULT_POLL && fault->role == FAULT_THREAD;
    return fault->nth > 0
           && ((fault->call == FAULT_FORK && fault->role == FAULT_PARENT)
               || ((asks || waits) && fault->error != EINTR));
}

/* A worker that can't be, or can't set itself up. */
static bool
ends_worker(const struct fault *fault)
{
    bool worker = fault->role == FAULT_WORKER;
    return (fault->call == FAULT_FORK && fault->role == FAULT_PARENT)
           || (worker && (fault->call == FAULT_THREAD_CREATE || fault->call == FAULT_EVENTFD));
}

static void
check_results(const struct scenario *scenario, const struct fault *fault,
              const struct engine *engine)
{
    bool poisoned = scenario->run != run_quickly;
    bool replaced = is_replacing(scenario) && !is_successor_lost(fault);
    bool may_crash = poisoned && (scenario->retries == 0 || !replaced);
    uint64_t stuck = scenario->run == run_stuck;
    uint64_t deaths = poisoned + stuck + ends_worker(fault);
    bool may_end = !replaced && deaths >= worker_count(scenario);
    CHECK(engine->crashed == 0 || may_crash);
    CHECK(engine->next == engine->options.items || may_end);
    CHECK(engine->overdue == stuck || (may_crash && engine->overdue < stuck));
    CHECK(engine->crashed > 0 || !poisoned || scenario->retries > 0);
}

static void
take_results(const struct scenario *scenario, struct engine *engine)
{
    struct fm_value value;
    if (scenario->taken == 0) {
        engine_drain(engine);
        engine_await_end(engine);
        return;
    }
    while (engine->next < scenario->taken && engine_next(engine, &value)) {
    }
    engine_stop(engine);
}

static void *
tell_id(void *id)
{
    *(pid_t *)id = gettid();
    return NULL;
}

/* A sanitizer has a thread of its own, from the first one on. That one may show for a moment after
 * it was joined, and must not count among those that were there before. */
static void
start_sanitizer(void)
{
    char path[64];
    pid_t id;
    test_join_thread(test_thread(tell_id, &id));
    (void)snprintf(path, sizeof path, "/proc/self/task/%d", (int)id);
    while (access(path, F_OK) == 0) {
        test_sleep(100 * FM_MICROSECOND);
    }
}

static void
run_scenario(void *argument)
{
    static struct engine engine;
    const struct run *run = argument;
    struct engine_options options = options_of(run->scenario);
    (void)alarm(HANG_LIMIT);
    start_sanitizer();
    struct footprint before = footprint_now();
    faults_arm(&run->fault);
    int result = engine_try_start(&engine, &options);
    if (result == 0) {
        take_results(run->scenario, &engine);
    }
    *run->report = faults_disarm();
    CHECK(result == 0 || (result == -run->fault.error && run->report->hits == 1));
    if (result == 0 && run->scenario->taken == 0) {
        const struct fault none = {.nth = 0};
        check_results(run->scenario, run->report->hits > 0 ? &run->fault : &none, &engine);
    }
    check_footprint(&engine, &before);
}

/* ---- many runs ---- */

struct runs {
    struct run running[AT_A_TIME];
    pid_t pids[AT_A_TIME];
    unsigned started;
    unsigned hits;
    unsigned failures;
};

static void
finish_run(struct runs *runs, unsigned place)
{
    int status;
    if (runs->pids[place] == 0) {
        return;
    }
    CHECK_EQUAL(waitpid(runs->pids[place], &status, 0), runs->pids[place]);
    if (status != 0) {
        (void)fprintf(stderr, "status %#x (an alarm is 0xe): ", (unsigned)status);
        (void)fprintf(stderr, "%s ", runs->running[place].scenario->name);
        faults_print(stderr, &runs->running[place].fault);
        runs->failures++;
    }
    runs->pids[place] = 0;
    runs->hits += runs->running[place].report->hits;
}

static void
start_run(struct runs *runs, const struct scenario *scenario, struct fault fault)
{
    unsigned place = runs->started % AT_A_TIME;
    struct run *run = &runs->running[place];
    finish_run(runs, place);
    if (run->report == NULL) {
        run->report = test_map(sizeof *run->report);
    }
    run->scenario = scenario;
    run->fault = fault;
    runs->pids[place] = test_fork(run_scenario, run);
    runs->started++;
}

static void
finish_runs(struct runs *runs)
{
    for (unsigned i = 0; i < AT_A_TIME; i++) {
        finish_run(runs, i);
    }
    CHECK_EQUAL(runs->failures, 0);
}

struct choice {
    const struct scenario *scenario;
    struct runs runs;
    uint64_t possible;
    uint64_t seed;
};

static void
count_fault(void *context, const struct fault *fault)
{
    struct choice *choice = context;
    (void)fault;
    choice->possible++;
}

/* The first ones always, and of the rest as many as the budget allows. */
static void
run_fault(void *context, const struct fault *fault)
{
    struct choice *choice = context;
    uint64_t budget = CHECK_SCALED(choice->scenario->budget);
    if (fault->nth <= 1 || test_random(&choice->seed) % choice->possible < budget) {
        start_run(&choice->runs, choice->scenario, *fault);
    }
}

static struct fault_report
run_undisturbed(const struct scenario *scenario)
{
    struct runs runs = {.started = 0};
    start_run(&runs, scenario, (struct fault){.nth = 0});
    finish_runs(&runs);
    return *runs.running[0].report;
}

static void
note_seen(bool *seen, const struct fault_report *counted)
{
    for (unsigned i = 0; i < FAULT_ROLES * FAULT_CALLS; i++) {
        seen[i % FAULT_CALLS] |= counted->counts[i / FAULT_CALLS][i % FAULT_CALLS] > 0;
    }
}

static void
test_all_faults(const struct scenario *scenario, uint64_t seed, bool *seen)
{
    struct choice choice = {.scenario = scenario, .seed = seed};
    struct fault_report counted = run_undisturbed(scenario);
    int64_t start = fm_clock_now();
    note_seen(seen, &counted);
    faults_visit(&counted, count_fault, &choice);
    faults_visit(&counted, run_fault, &choice);
    finish_runs(&choice.runs);
    (void)printf("%s: %u runs for %llu possible faults (seed %llu), %u came to pass, %.1f s\n",
                 scenario->name, choice.runs.started, (unsigned long long)choice.possible,
                 (unsigned long long)seed, choice.runs.hits,
                 (double)(fm_clock_now() - start) / (double)FM_SECOND);
    /* Not all do: how often something is waited for differs from run to run. */
    CHECK(choice.runs.hits > choice.runs.started / 2);
}

static void
test_one_fault(char **arguments)
{
    struct runs runs = {.started = 0};
    struct fault fault = faults_read(arguments + 1);
    for (unsigned i = 0; i < SCENARIOS; i++) {
        if (strcmp(scenarios[i].name, arguments[0]) == 0) {
            start_run(&runs, &scenarios[i], fault);
        }
    }
    finish_runs(&runs);
    (void)printf("runs: %u, came to pass: %u\n", runs.started, runs.hits);
}

int
main(int argc, char **argv)
{
    bool seen[FAULT_CALLS] = {false};
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : SEED_DEFAULT;
    if (argc == 6) {
        test_one_fault(argv + 1);
        return 0;
    }
    for (unsigned i = 0; i < SCENARIOS; i++) {
        test_all_faults(&scenarios[i], seed != 0 ? seed : SEED_DEFAULT, seen);
    }
    for (unsigned i = 0; i < FAULT_CALLS; i++) {
        if (!seen[i]) {
            check_fail("no run makes this call", 0, faults_call_name(i));
        }
    }
    return 0;
}
