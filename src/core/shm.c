#include "shm.h"

#include "descriptor.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Without a file where fd is -1. */
static int
map(size_t size, int fd, void **memory)
{
    int flags = MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (mapped == MAP_FAILED) {
        return -errno;
    }
    *memory = mapped;
    return 0;
}

/* What is granted may be all that there was. */
static size_t
leave_half(void *memory, size_t size, size_t least)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t kept = (size / 2 + page - 1) & ~(page - 1);
    if (kept < least || kept >= size) {
        return size;
    }
    fm_shm_unmap((char *)memory + kept, size - kept);
    return kept;
}

int
fm_shm_map(size_t size, void **memory, int *fd)
{
    if (fd == NULL) {
        return map(size, -1, memory);
    }
    *fd = fm_descriptor_keep(memfd_create("fast_map", MFD_CLOEXEC));
    if (*fd < 0) {
        return *fd;
    }
    int result = ftruncate(*fd, (off_t)size) == 0 ? map(size, *fd, memory) : -errno;
    if (result < 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return result;
}

int
fm_shm_attach(int fd, void **memory, size_t *size)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    *size = (size_t)status.st_size;
    return map(*size, fd, memory);
}

int
fm_shm_map_most(size_t most, size_t least, void **memory, size_t *size, int *fd)
{
    int result = -EINVAL;
    for (size_t wanted = most; wanted >= least; wanted /= 2) {
        result = fm_shm_map(wanted, memory, fd);
        if (result == 0) {
            *size = wanted == most ? most : leave_half(*memory, wanted, least);
            return fd == NULL || ftruncate(*fd, (off_t)*size) == 0 ? 0 : -errno;
        }
    }
    return result;
}

void
fm_shm_unmap(void *memory, size_t size)
{
    (void)munmap(memory, size);
}

void
fm_shm_make_private(void *memory, size_t size, int fd, size_t offset)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)memory & ~(page - 1);
    uintptr_t end = ((uintptr_t)memory + size + page - 1) & ~(page - 1);
    size_t length = end - begin;
    off_t place = (off_t)(offset - ((uintptr_t)memory - begin));
    /* Beside the range first, for what is refused then costs nothing. */
    void *copy = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, place);
    if (copy == MAP_FAILED) {
        return;
    }
    void *moved = mremap(copy, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)begin);
    if (moved == MAP_FAILED) {
        (void)munmap(copy, length);
    }
}

void
fm_shm_discard(void *memory, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)memory + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)memory + size) & ~(page - 1);
    if (begin < end) {
        (void)madvise((void *)begin, end - begin, MADV_REMOVE);
    }
}
