/* How many CPUs this process may really use. */
#ifndef FM_CPUS_H
#define FM_CPUS_H

/* The CPUs of the affinity mask, cut to the cgroup's quota (v2 `cpu.max` or v1
 * `cpu.cfs_quota_us`, the strictest from the process's own group up to the root), rounded up;
 * at least 1. */
unsigned fm_cpus_usable(void);

/* The quota alone, read below other roots (for tests): CPUs rounded up, 0 for none. `membership`
 * is a file like /proc/self/cgroup, `mount` the folder that /sys/fs/cgroup is. */
unsigned fm_cpus_quota(const char *membership, const char *mount);

#endif
