#include "cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads one or two numbers; a missing file or the word "max" reads as no number. */
static int
read_numbers(const char *path, long long *first, long long *second)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    int count = fscanf(file, "%lld %lld", first, second);
    (void)fclose(file);
    return count > 0 ? count : 0;
}

static unsigned
round_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0) {
        return 0;
    }
    long long cpus = quota / period + (quota % period != 0);
    return cpus < UINT_MAX ? (unsigned)cpus : UINT_MAX;
}

static unsigned
quota_of_v2_group(const char *folder)
{
    char path[PATH_MAX];
    long long quota = 0;
    long long period = 0;
    (void)snprintf(path, sizeof path, "%.*s/cpu.max", PATH_MAX - 32, folder);
    return read_numbers(path, &quota, &period) == 2 ? round_up(quota, period) : 0;
}

static unsigned
quota_of_v1_group(const char *folder)
{
    char path[PATH_MAX];
    long long quota = 0;
    long long period = 0;
    long long ignored;
    (void)snprintf(path, sizeof path, "%.*s/cpu.cfs_quota_us", PATH_MAX - 32, folder);
    (void)read_numbers(path, &quota, &ignored);
    (void)snprintf(path, sizeof path, "%.*s/cpu.cfs_period_us", PATH_MAX - 32, folder);
    (void)read_numbers(path, &period, &ignored);
    return round_up(quota, period);
}

static unsigned
stricter(unsigned one, unsigned other)
{
    if (one == 0 || other == 0) {
        return one | other;
    }
    return one < other ? one : other;
}

/* The strictest quota from the group up to the hierarchy's root. A container may see the path of
 * its group as the host names it, with only the root in view; missing folders set no quota. */
static unsigned
quota_up_to_root(const char *root, const char *group, unsigned (*quota_of)(const char *))
{
    char folder[PATH_MAX];
    size_t root_length = strlen(root);
    unsigned strictest = 0;
    (void)snprintf(folder, sizeof folder, "%s%s", root, group);
    for (;;) {
        strictest = stricter(strictest, quota_of(folder));
        char *last = strrchr(folder, '/');
        if (last == NULL || (size_t)(last - folder) < root_length) {
            return strictest;
        }
        *last = '\0';
    }
}

static bool
lists_cpu_controller(const char *controllers, size_t length)
{
    const char *end = controllers + length;
    while (controllers < end) {
        size_t word = strcspn(controllers, ",:");
        if (word == 3 && memcmp(controllers, "cpu", 3) == 0) {
            return true;
        }
        controllers += word + 1;
    }
    return false;
}

/* One line of /proc/self/cgroup is `id:controllers:path`; v2's has no controllers. */
static unsigned
quota_of_membership(char *line, const char *mount)
{
    char root[PATH_MAX];
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (group == NULL) {
        return 0;
    }
    controllers++;
    size_t length = (size_t)(group - controllers);
    group++;
    if (length == 0) {
        return quota_up_to_root(mount, group, quota_of_v2_group);
    }
    if (!lists_cpu_controller(controllers, length)) {
        return 0;
    }
    (void)snprintf(root, sizeof root, "%.*s/cpu", PATH_MAX - 32, mount);
    return quota_up_to_root(root, group, quota_of_v1_group);
}

unsigned
fm_cpus_quota(const char *membership, const char *mount)
{
    char line[PATH_MAX];
    unsigned strictest = 0;
    FILE *file = fopen(membership, "re");
    if (file == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        strictest = stricter(strictest, quota_of_membership(line, mount));
    }
    (void)fclose(file);
    return strictest;
}

/* The mask's size is not known beforehand: machines with over 1,024 CPUs need a larger one. */
static unsigned
count_affinity(void)
{
    for (size_t cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *mask = CPU_ALLOC(cpus);
        if (mask == NULL) {
            break;
        }
        size_t size = CPU_ALLOC_SIZE(cpus);
        int result = sched_getaffinity(0, size, mask);
        int count = result == 0 ? CPU_COUNT_S(size, mask) : 0;
        CPU_FREE(mask);
        if (count > 0) {
            return (unsigned)count;
        }
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

unsigned
fm_cpus_usable(void)
{
    unsigned quota = fm_cpus_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    return stricter(count_affinity(), quota);
}
