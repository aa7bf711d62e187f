#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int
fm_descriptor_keep(int fd)
{
    if (fd < 0) {
        return -errno;
    }
    if (fd > STDERR_FILENO) {
        return fd;
    }
    int kept = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = errno;
    (void)close(fd);
    return kept >= 0 ? kept : -error;
}

int
fm_descriptor_keep_pair(int result, int fds[2])
{
    if (result < 0) {
        return -errno;
    }
    fds[0] = fm_descriptor_keep(fds[0]);
    fds[1] = fm_descriptor_keep(fds[1]);
    if (fds[0] >= 0 && fds[1] >= 0) {
        return 0;
    }
    int error = fds[0] < 0 ? fds[0] : fds[1];
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    return error;
}
