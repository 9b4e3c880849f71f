/* SPDX-License-Identifier: MIT */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "console.h"
#include "util.h"

/* For kernels without finit_module() (before 3.8). */
static int init_from_memory(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return -1;
    int r = (int)syscall(SYS_init_module, p, (size_t)st.st_size, "");
    int e = errno;

    munmap(p, (size_t)st.st_size);
    errno = e;
    return r;
}

/* 0, or -1 with errno; EBADF: the archive has no such file. */
static int load_module(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        errno = EBADF;
        return -1;
    }
    int r = (int)syscall(SYS_finit_module, fd, "", 0);
    if (r < 0 && errno == ENOSYS)
        r = init_from_memory(fd);
    int e = errno;

    close(fd);
    errno = e;
    return r;
}

/* strerror() misleads for these errors of finit_module(2). */
static const char *load_error(int e)
{
    return e == EBADF     ? "not in the archive"
           : e == ENOENT  ? "unknown symbol (a module that it needs is not loaded)"
           : e == ENOEXEC ? "not for this kernel"
                          : strerror(e);
}

void ag_module_load(struct ag_boot *b, const char *file)
{
    char path[PV_PATH_MAX];

    if (!ag_format(path, sizeof(path), PV_BOOT_MODULES "/%s", file))
        return;
    if (load_module(path) == 0 || errno == EEXIST)
        return;
    int e = errno;
    size_t n = strlen(b->trouble);

    ag_say(b, "module %s: %s", file, load_error(e));
    ag_format(b->trouble + n, sizeof(b->trouble) - n, "; module %s: %s", file, load_error(e));
}
