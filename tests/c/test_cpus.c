#include "cpus.h"

#include "support.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A folder that plays /sys/fs/cgroup, and a file that plays /proc/self/cgroup. */
static char tree[] = "/tmp/fm-test-cpus-XXXXXX";
static char membership[PATH_MAX];

static void
make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
}

static void
put(const char *name, const char *text)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", tree, name);
    make_folders(path);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK_EQUAL(fclose(file), 0);
}

static void
clear(void)
{
    char command[PATH_MAX];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", tree);
    CHECK_EQUAL(system(command), 0);
}

static unsigned
quota_of(const char *lines)
{
    put("membership", lines);
    return fm_cpus_quota(membership, tree);
}

static void
check_v2(void)
{
    put("cpu.max", "max 100000\n");
    CHECK_EQUAL(quota_of("0::/\n"), 0);
    put("cpu.max", "200000 100000\n");
    CHECK_EQUAL(quota_of("0::/\n"), 2);
    put("cpu.max", "200001 100000\n");
    CHECK_EQUAL(quota_of("0::/\n"), 3);
    put("cpu.max", "1000 100000\n");
    CHECK_EQUAL(quota_of("0::/\n"), 1);
    put("cpu.max", "max 100000\n");
    put("slice/cpu.max", "350000 50000\n");
    put("slice/unit/cpu.max", "max 100000\n");
    CHECK_EQUAL(quota_of("0::/slice/unit\n"), 7);
    CHECK_EQUAL(quota_of("0::/slice\n"), 7);
    put("slice/unit/cpu.max", "500000 100000\n");
    CHECK_EQUAL(quota_of("0::/slice/unit\n"), 5);
    put("cpu.max", "400000 100000\n");
    CHECK_EQUAL(quota_of("0::/slice/unit\n"), 4);
    /* A sibling's quota is not ours, nor is a name that merely begins like ours. */
    CHECK_EQUAL(quota_of("0::/sli\n"), 4);
    put("other/cpu.max", "100000 100000\n");
    CHECK_EQUAL(quota_of("0::/slice/unit\n"), 4);
    /* The host's path, of which a container sees only the root. */
    CHECK_EQUAL(quota_of("0::/docker/0123456789abcdef\n"), 4);
    CHECK_EQUAL(quota_of("0::/slice/unit"), 4);
}

static void
check_v1(void)
{
    put("cpu/cpu.cfs_quota_us", "-1\n");
    put("cpu/cpu.cfs_period_us", "100000\n");
    const char *lines = "4:memory:/job\n3:cpuset:/job\n2:cpu,cpuacct:/job/step\n1:name=systemd:/\n";
    CHECK_EQUAL(quota_of(lines), 0);
    put("cpu/job/cpu.cfs_quota_us", "150000\n");
    put("cpu/job/cpu.cfs_period_us", "50000\n");
    CHECK_EQUAL(quota_of(lines), 3);
    put("cpu/job/step/cpu.cfs_quota_us", "60000\n");
    put("cpu/job/step/cpu.cfs_period_us", "50000\n");
    CHECK_EQUAL(quota_of(lines), 2);
    CHECK_EQUAL(quota_of("2:cpuacct,cpu:/job/step\n"), 2);
    CHECK_EQUAL(quota_of("2:cpu:/job\n"), 3);
    /* Other controllers whose names merely contain "cpu". */
    CHECK_EQUAL(quota_of("3:cpuset:/job/step\n2:cpuacct:/job/step\n"), 0);
    put("cpu/job/step/cpu.cfs_period_us", "0\n");
    CHECK_EQUAL(quota_of(lines), 3);
}

/* Both versions mounted: the stricter of the two. */
static void
check_hybrid(void)
{
    const char *lines = "2:cpu,cpuacct:/job\n0::/unified\n";
    put("cpu/job/cpu.cfs_quota_us", "300000\n");
    put("cpu/job/cpu.cfs_period_us", "100000\n");
    put("unified/cpu.max", "500000 100000\n");
    CHECK_EQUAL(quota_of(lines), 3);
    put("unified/cpu.max", "100000 100000\n");
    CHECK_EQUAL(quota_of(lines), 1);
}

static void
check_rubbish(void)
{
    char *line = malloc(3 * PATH_MAX);
    CHECK(line != NULL);
    memset(line, 'x', 3 * PATH_MAX);
    memcpy(line, "0::/", 4);
    line[3 * PATH_MAX - 1] = '\0';
    CHECK_EQUAL(fm_cpus_quota("/nonexistent", tree), 0);
    put("cpu.max", "rubbish\n");
    CHECK_EQUAL(quota_of(""), 0);
    CHECK_EQUAL(quota_of("0::/\n"), 0);
    CHECK_EQUAL(quota_of("0\n0:\n::\n\n"), 0);
    CHECK_EQUAL(quota_of(line), 0);
    put("cpu.max", "300000\n");
    CHECK_EQUAL(quota_of("0::/\n"), 0);
    put("cpu.max", "9000000000000000000 1\n");
    CHECK_EQUAL(quota_of("0::/\n"), UINT_MAX);
    put("cpu.max", "0 100000\n");
    CHECK_EQUAL(quota_of("0::/\n"), 0);
    free(line);
}

static void
check_affinity(void *ignored)
{
    cpu_set_t mask;
    (void)ignored;
    CHECK_EQUAL(sched_getaffinity(0, sizeof mask, &mask), 0);
    unsigned all = fm_cpus_usable();
    CHECK(all >= 1 && all <= (unsigned)CPU_COUNT(&mask));
    size_t first = 0;
    while (!CPU_ISSET(first, &mask)) {
        first++;
    }
    CPU_ZERO(&mask);
    CPU_SET(first, &mask);
    CHECK_EQUAL(sched_setaffinity(0, sizeof mask, &mask), 0);
    CHECK_EQUAL(fm_cpus_usable(), 1);
}

static void
in_new_tree(void (*check)(void))
{
    (void)strcpy(tree + strlen(tree) - 6, "XXXXXX");
    CHECK(mkdtemp(tree) != NULL);
    (void)snprintf(membership, sizeof membership, "%s/membership", tree);
    check();
    clear();
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    in_new_tree(check_v2);
    in_new_tree(check_v1);
    in_new_tree(check_hybrid);
    in_new_tree(check_rubbish);
    test_run("affinity", check_affinity, NULL);
    return 0;
}
