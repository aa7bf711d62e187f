#include "growth.h"

#include "check.h"

#include <stddef.h>

#define MS INT64_C(1000000)

struct look {
    const char *what;
    struct fm_growth_sample sample;
    unsigned added;
};

/* Times and CPU times in ms, for legibility. */
#define LOOK(at, used, threads, is_settled, items, space, expected)                                \
    {#at ", " #used,                                                                               \
     {.time = (at) * MS,                                                                           \
      .cpu = (used) * MS,                                                                          \
      .active = threads,                                                                           \
      .settled = is_settled,                                                                       \
      .waiting = items,                                                                            \
      .room = space},                                                                              \
     expected}

static void
check_looks(const char *name, const struct look *looks, size_t count)
{
    struct fm_growth growth = {0};
    for (size_t i = 0; i < count; i++) {
        unsigned added = fm_growth_decide(&growth, &looks[i].sample);
        if (added != looks[i].added) {
            (void)fprintf(stderr, "%s, look %zu (%s): %u, not %u\n", name, i, looks[i].what, added,
                          looks[i].added);
            check_end();
        }
    }
}

#define CHECK_LOOKS(looks) check_looks(#looks, looks, sizeof(looks) / sizeof *(looks))

/* Blocked: doubles with each pair of looks, until nothing waits. */
static const struct look blocking[] = {
    LOOK(100, 5, 1, true, 1000, 500, 0), LOOK(101, 5, 1, true, 1000, 500, 1),
    LOOK(102, 5, 2, true, 999, 500, 0),  LOOK(103, 5, 2, true, 999, 500, 2),
    LOOK(104, 5, 4, true, 997, 500, 0),  LOOK(106, 5, 4, true, 997, 500, 4),
    LOOK(107, 5, 8, true, 3, 500, 0),    LOOK(108, 5, 8, true, 3, 500, 3),
    LOOK(109, 5, 11, true, 0, 500, 0),   LOOK(110, 5, 11, true, 0, 500, 0),
};

/* Room limits it: the share, the user's limit. */
static const struct look limited[] = {
    LOOK(0, 0, 64, true, 1000, 10, 0),
    LOOK(1, 0, 64, true, 1000, 10, 10),
    LOOK(2, 0, 74, true, 1000, 0, 0),
    LOOK(3, 0, 74, true, 1000, 0, 0),
};

/* A process that uses the CPU half of the time or more gets no thread, at any rate of looking,
 * and the window starts anew with each verdict. */
static const struct look computing[] = {
    LOOK(0, 0, 1, true, 100, 100, 0),   LOOK(1, 1, 1, true, 100, 100, 0),
    LOOK(17, 17, 1, true, 100, 100, 0), LOOK(33, 25, 1, true, 100, 100, 0),
    LOOK(35, 26, 1, true, 100, 100, 0), LOOK(36, 26, 1, true, 100, 100, 1),
};

/* Several threads compute: CPU time passes faster than time. */
static const struct look parallel[] = {
    LOOK(0, 0, 8, true, 100, 100, 0),
    LOOK(10, 80, 8, true, 100, 100, 0),
    LOOK(20, 160, 8, true, 100, 100, 0),
};

/* Too close together to tell: the window goes on. */
static const struct look hasty[] = {
    {"first", {.time = 0, .active = 3, .settled = true, .waiting = 9, .room = 9}, 0},
    {"0.5 ms", {.time = MS / 2, .active = 3, .settled = true, .waiting = 9, .room = 9}, 0},
    {"just below", {.time = MS - 1, .active = 3, .settled = true, .waiting = 9, .room = 9}, 0},
    {"1 ms", {.time = MS, .active = 3, .settled = true, .waiting = 9, .room = 9}, 3},
};

/* Starting threads is work: no verdict, and no window, until all have reached an item. */
static const struct look starting[] = {
    LOOK(0, 0, 4, false, 100, 100, 0), LOOK(9, 0, 4, false, 100, 100, 0),
    LOOK(10, 0, 4, true, 100, 100, 0), LOOK(11, 0, 4, false, 100, 100, 0),
    LOOK(12, 0, 4, true, 100, 100, 0), LOOK(13, 0, 4, true, 100, 100, 4),
};

/* Work that comes after a pause doesn't inherit the pause's idleness. */
static const struct look paused[] = {
    LOOK(0, 0, 2, true, 0, 100, 0),    LOOK(500, 0, 2, true, 50, 100, 0),
    LOOK(501, 1, 2, true, 50, 100, 0), LOOK(510, 1, 2, true, 0, 100, 0),
    LOOK(900, 1, 2, true, 50, 100, 0), LOOK(901, 1, 2, true, 50, 100, 2),
};

/* Exactly half is computing; just below is not. */
static const struct look threshold[] = {
    LOOK(0, 0, 1, true, 9, 9, 0),
    LOOK(100, 50, 1, true, 9, 9, 0),
    LOOK(200, 99, 1, true, 9, 9, 1),
};

/* A thread was idle meanwhile: nobody had to wait for a thread, and the window starts anew. */
static const struct look idle_meanwhile[] = {
    {"first", {.time = 0, .idles = 7, .active = 2, .settled = true, .waiting = 9, .room = 9}, 0},
    {"idle", {.time = MS, .idles = 8, .active = 2, .settled = true, .waiting = 9, .room = 9}, 0},
    {"idle",
     {.time = 9 * MS, .idles = 9, .active = 2, .settled = true, .waiting = 9, .room = 9},
     0},
    {"busy",
     {.time = 10 * MS, .idles = 9, .active = 2, .settled = true, .waiting = 9, .room = 9},
     2},
};

/* No thread is active while the work waits: one is added at least. */
static const struct look none_active[] = {
    LOOK(0, 0, 0, true, 9, 9, 0),
    LOOK(1, 0, 0, true, 9, 9, 1),
};

/* As LOOK, for a process in which other threads have used a part of the CPU time. */
#define SHARED_LOOK(at, used, others, expected)                                                    \
    {#at ", " #used " of which " #others,                                                          \
     {.time = (at) * MS,                                                                           \
      .cpu = (used) * MS,                                                                          \
      .others_cpu = (others) * MS,                                                                 \
      .active = 2,                                                                                 \
      .settled = true,                                                                             \
      .waiting = 100,                                                                              \
      .room = 100},                                                                                \
     expected}

/* Others compute, and may keep the pool's threads from it for a while: a longer look. */
static const struct look others_compute[] = {
    SHARED_LOOK(0, 50, 50, 0),
    SHARED_LOOK(1, 51, 51, 0),
    SHARED_LOOK(19, 69, 69, 0),
    SHARED_LOOK(20, 70, 70, 2),
};

/* The pool computes half of the time, in turns with others. */
static const struct look all_compute[] = {
    SHARED_LOOK(0, 50, 50, 0),  SHARED_LOOK(5, 55, 55, 0),  SHARED_LOOK(10, 60, 55, 0),
    SHARED_LOOK(15, 65, 60, 0), SHARED_LOOK(20, 70, 60, 0), SHARED_LOOK(30, 80, 65, 0),
};

/* Others hardly do anything: as quick as without them. */
static const struct look others_idle[] = {
    SHARED_LOOK(0, 50, 50, 0),
    SHARED_LOOK(10, 52, 51, 2),
};

/* Twenty thousand sleeping tasks take fifteen doublings. */
static void
check_speed(void)
{
    struct fm_growth growth = {0};
    unsigned threads = 1;
    int looks = 0;
    while (threads < 20000) {
        struct fm_growth_sample sample = {.time = looks * MS,
                                          .active = threads,
                                          .settled = true,
                                          .waiting = 20000 - threads,
                                          .room = 20000};
        threads += fm_growth_decide(&growth, &sample);
        CHECK(++looks <= 30);
    }
    CHECK_EQUAL(threads, 20000);
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    CHECK_LOOKS(blocking);
    CHECK_LOOKS(limited);
    CHECK_LOOKS(computing);
    CHECK_LOOKS(parallel);
    CHECK_LOOKS(hasty);
    CHECK_LOOKS(starting);
    CHECK_LOOKS(paused);
    CHECK_LOOKS(threshold);
    CHECK_LOOKS(idle_meanwhile);
    CHECK_LOOKS(none_active);
    CHECK_LOOKS(others_compute);
    CHECK_LOOKS(all_compute);
    CHECK_LOOKS(others_idle);
    check_speed();
    return 0;
}
