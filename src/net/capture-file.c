/* SPDX-License-Identifier: MIT */
#include "net/capture-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/network.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"

struct pv_capture_file {
    struct pv_net_capture *capture;
    FILE *file;
    char *path;
    uint64_t size, max;
    bool full; /* max was reached */
    int error; /* errno of the first write that failed */
};

static void file_write(void *arg, const void *data, size_t n)
{
    struct pv_capture_file *c = arg;

    if (c->full || c->error)
        return;
    if (c->size + n > c->max)
        c->full = true;
    else if (fwrite(data, 1, n, c->file) != n)
        c->error = errno;
    c->size += n;
}

/* A FIFO would block until somebody reads it. */
static FILE *file_open(const char *path, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    struct stat st;
    FILE *file;

    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        pv_err_set(err, PV_E_USAGE,
                   "cannot write the capture '%s': it is no regular file; capture() without a "
                   "path has a stream",
                   path);
        return NULL;
    }
    file = fd < 0 || ftruncate(fd, 0) < 0 ? NULL : fdopen(fd, "wb");
    if (file)
        pv_steal_fd(&fd);
    else
        pv_err_set(err, PV_E_USAGE, "cannot write the capture '%s': %s", path,
                   errno == ENXIO ? "it is a FIFO or a socket, no regular file" : strerror(errno));
    return file;
}

struct pv_capture_file *pv_capture_file_open(struct pv_net *net, const char *path, uint64_t max,
                                             struct pv_err *err)
{
    FILE *file = file_open(path, err);
    struct pv_capture_file *c;

    if (!file)
        return NULL;
    c = pv_xcalloc(1, sizeof(*c));
    *c = (struct pv_capture_file){.file = file, .path = pv_xstrdup(path), .max = max};
    c->capture = pv_net_capture_start(net, file_write, c);
    return c;
}

static int file_end(const struct pv_capture_file *c, struct pv_err *err)
{
    char max[32];

    if (c->error)
        return pv_err_sys(err, c->error, "cannot write the capture '%s'", c->path);
    if (c->full)
        return pv_err_set(
            err, PV_E_HOST,
            "the capture '%s' ends too early: it has reached %s, and later frames are not in it", c->path,
            pv_format_size(c->max, max));
    return 0;
}

int pv_capture_file_close(struct pv_capture_file *c, struct pv_err *err)
{
    int r;

    pv_net_capture_stop(c->capture);
    if (fclose(c->file) != 0 && !c->error)
        c->error = errno;
    r = file_end(c, err);
    free(c->path);
    free(c);
    return r;
}
