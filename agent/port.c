/* SPDX-License-Identifier: MIT */
/*
 * Finding the agent's virtio-serial port: sysfs has the names of the ports /dev/vportNpM, and a guest may
 * have several.  Both file systems are private mounts of guest init.
 */
#include "boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "console.h"
#include "util.h"

enum { WAIT_MS = 10000 };

static bool is_named(const struct ag_boot *b, const char *port, const char *name)
{
    char path[512], text[256];

    if (!ag_format(path, sizeof(path), "class/virtio-ports/%s/name", port) ||
        ag_read_text(b->sys_fd, path, text, sizeof(text)) < 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    return strcmp(text, name) == 0;
}

/* The port's descriptor; -1 with errno: ENOENT while the driver has not found it. */
static int open_named(const struct ag_boot *b, const char *name)
{
    int dir_fd = openat(b->sys_fd, "class/virtio-ports", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    DIR *d = dir_fd < 0 ? NULL : fdopendir(dir_fd);
    int e = ENOENT;

    for (struct dirent *entry; d && fd < 0 && (entry = readdir(d));)
        if (entry->d_name[0] != '.' && is_named(b, entry->d_name, name)) {
            fd = openat(b->dev_fd, entry->d_name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
            e = errno;
        }
    if (d)
        closedir(d);
    errno = e;
    return fd;
}

int ag_port_open(const struct ag_boot *b, const char *name)
{
    int64_t due = ag_now() + (int64_t)WAIT_MS * 1000000;
    int fd;

    if (b->sys_fd < 0)
        ag_fatal(b, "cannot mount sysfs: %s", strerror(errno));
    /* The driver is loaded, but exchanges messages with the device before it knows the ports. */
    while ((fd = open_named(b, name)) < 0 && errno == ENOENT && ag_now() < due)
        ag_sleep_ms(1);
    if (fd < 0)
        ag_fatal(b, "the agent cannot open the virtio-serial port '%s': %s%s", name,
                 errno == ENOENT ? "there is none (has the kernel virtio_console?)" : strerror(errno),
                 b->trouble);
    return fd;
}
