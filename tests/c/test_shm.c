#include "shm.h"

#include "support.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static char *
map(size_t size)
{
    void *memory;
    CHECK_EQUAL(fm_shm_map(size, &memory, NULL), 0);
    return memory;
}

static void
check_zeroed(void)
{
    char *memory = map(MIB);
    for (size_t i = 0; i < MIB; i++) {
        CHECK_EQUAL(memory[i], 0);
    }
    fm_shm_unmap(memory, MIB);
    unsigned char there;
    CHECK_EQUAL(mincore(memory, 1, &there), -1);
    CHECK_EQUAL(errno, ENOMEM);
}

static void
write_mark(void *memory)
{
    strcpy(memory, "from the child");
}

static void
check_shared(void)
{
    char *memory = map(100);
    test_join(test_fork(write_mark, memory));
    CHECK_EQUAL(strcmp(memory, "from the child"), 0);
    fm_shm_unmap(memory, 100);
}

/* Two mappings of the same memory, as two processes that are no kin would have. */
static void
check_attached(void)
{
    void *memory;
    void *attached;
    size_t size = 0;
    int fd = -1;
    CHECK_EQUAL(fm_shm_map_most(8 * MIB, MIB, &memory, &size, &fd), 0);
    CHECK_EQUAL(size, 8 * MIB);
    size = 0;
    CHECK_EQUAL(fm_shm_attach(fd, &attached, &size), 0);
    CHECK_EQUAL(close(fd), 0);
    CHECK_EQUAL(size, 8 * MIB);
    CHECK(attached != memory);
    ((char *)memory)[size - 1] = 'x';
    CHECK_EQUAL(((char *)attached)[size - 1], 'x');
    fm_shm_discard(memory, size);
    CHECK_EQUAL(((char *)attached)[size - 1], 0);
    fm_shm_unmap(memory, size);
    ((char *)attached)[0] = 'y';
    fm_shm_unmap(attached, size);
    CHECK_EQUAL(fm_shm_attach(fd, &attached, &size), -EBADF);
    /* No descriptor is left where the memory can't be had. */
    CHECK(fm_shm_map(SIZE_MAX / 2, &memory, &fd) < 0);
    CHECK_EQUAL(fd, -1);
}

static void
check_refused(void)
{
    void *memory = NULL;
    CHECK(fm_shm_map(SIZE_MAX / 2, &memory, NULL) < 0);
    CHECK(fm_shm_map(0, &memory, NULL) < 0);
    CHECK(memory == NULL);
}

static void
check_most(void)
{
    void *memory;
    size_t size = 0;
    CHECK_EQUAL(fm_shm_map_most(8 * MIB, MIB, &memory, &size, NULL), 0);
    CHECK_EQUAL(size, 8 * MIB);
    fm_shm_unmap(memory, size);
    /* More than there is address for: halved until it fits. */
    CHECK_EQUAL(fm_shm_map_most((size_t)1 << 60, MIB, &memory, &size, NULL), 0);
    CHECK(size >= (size_t)1 << 30 && size < (size_t)1 << 48);
    CHECK_EQUAL(size & (size - 1), 0);
    ((char *)memory)[size - 1] = 1;
    fm_shm_unmap(memory, size);
    CHECK(fm_shm_map_most((size_t)1 << 60, (size_t)1 << 59, &memory, &size, NULL) < 0);
    CHECK(fm_shm_map_most(MIB, 2 * MIB, &memory, &size, NULL) < 0);
}

/* Sanitizers reserve more address space than any limit would leave. */
static void
check_limited(void *ignored)
{
    (void)ignored;
    struct rlimit limit = {.rlim_cur = 64 * MIB, .rlim_max = 64 * MIB};
    void *memory;
    void *rest;
    size_t size = 0;
    size_t rest_size = 0;
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQUAL(fm_shm_map(128 * MIB, &memory, NULL), -ENOMEM);
    CHECK_EQUAL(fm_shm_map_most(1024 * MIB, MIB, &memory, &size, NULL), 0);
    CHECK(size == 16 * MIB || size == 8 * MIB);
    /* At least as much is left as was taken. */
    CHECK_EQUAL(fm_shm_map_most(size, size, &rest, &rest_size, NULL), 0);
    CHECK_EQUAL(rest_size, size);
    CHECK_EQUAL(fm_shm_map_most(1024 * MIB, 512 * MIB, &memory, &size, NULL), -ENOMEM);
}

static size_t
resident_pages(char *memory, size_t size)
{
    unsigned char pages[64];
    size_t count = 0;
    CHECK(size / 4096 <= sizeof pages);
    CHECK_EQUAL(mincore(memory, size, pages), 0);
    for (size_t i = 0; i < size / 4096; i++) {
        count += pages[i] & 1;
    }
    return count;
}

static void
discard_in_child(void *memory)
{
    /* From within the first page to within the last one: whole pages between them go. */
    fm_shm_discard((char *)memory + 1, 8 * 4096 - 2);
}

static void
check_discard(void)
{
    size_t size = 8 * 4096;
    char *memory = map(size);
    memset(memory, 'x', size);
    CHECK_EQUAL(resident_pages(memory, size), 8);
    fm_shm_discard(memory + 5, 4096); /* no whole page */
    fm_shm_discard(memory + 5, 0);
    CHECK_EQUAL(resident_pages(memory, size), 8);
    test_join(test_fork(discard_in_child, memory));
    CHECK_EQUAL(resident_pages(memory, size), 2);
    for (size_t i = 0; i < size; i++) {
        bool kept = i < 4096 || i >= 7 * 4096;
        CHECK_EQUAL(memory[i], kept ? 'x' : 0);
    }
    memset(memory, 'y', size);
    CHECK_EQUAL(memory[4096], 'y');
    fm_shm_unmap(memory, size);
}

struct copy {
    char *memory;
    int fd;
};

/* Page 0 is not touched, 1 and 2 have what the parent wrote, 2 and 3 get something else here. */
static void
write_privately(void *argument)
{
    struct copy *copy = argument;
    char *memory = copy->memory;
    fm_shm_make_private(memory + 4096 + 100, 3 * 4096 - 200, copy->fd, 4096 + 100);
    CHECK_EQUAL(memory[2 * 4096], 'p');
    memset(memory + 2 * 4096, 'c', 4096);
    memory[3 * 4096 + 5] = 'c';
    CHECK_EQUAL(memory[4096], 'p');
    memory[0] = 's'; /* outside of the range: shared */
    memory[4 * 4096] = 's';
    CHECK_EQUAL(memory[2 * 4096 + 4095], 'c');
}

static void
check_private(void)
{
    void *memory;
    struct copy copy;
    CHECK_EQUAL(fm_shm_map(8 * 4096, &memory, &copy.fd), 0);
    copy.memory = memory;
    memset(copy.memory + 4096, 'p', 3 * 4096);
    test_join(test_fork(write_privately, &copy));
    for (size_t i = 4096; i < 4 * 4096; i++) {
        CHECK_EQUAL(copy.memory[i], 'p');
    }
    CHECK_EQUAL(copy.memory[0], 's');
    CHECK_EQUAL(copy.memory[4 * 4096], 's');
    /* What can't be had changes nothing. */
    fm_shm_make_private(memory, 4096, -1, 0);
    copy.memory[0] = 'x';
    CHECK_EQUAL(copy.memory[0], 'x');
    fm_shm_unmap(memory, 8 * 4096);
    CHECK_EQUAL(close(copy.fd), 0);
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_zeroed();
    check_shared();
    check_attached();
    check_refused();
    check_most();
    check_discard();
    check_private();
    if (!CHECK_SANITIZED) {
        test_run("limited address space", check_limited, NULL);
    }
    return 0;
}
