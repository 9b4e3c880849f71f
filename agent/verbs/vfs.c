/* SPDX-License-Identifier: MIT */
/* MOUNT_VFS and SHUTDOWN: the system calls themselves, since a guest may have no mount(8) or poweroff(8). */
#include "agent/session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/util.h"

/* A directory on another device than its parent is a mount point. */
static bool is_mounted(const char *path, const char *parent)
{
    struct stat a, b;

    return stat(path, &a) == 0 && stat(parent, &b) == 0 && a.st_dev != b.st_dev;
}

static const struct {
    const char *type, *path, *parent;
    bool optional; /* fine when the kernel has none */
} vfs[] = {
    {"proc", "/proc", "/", false},
    {"sysfs", "/sys", "/", false},
    {"securityfs", "/sys/kernel/security", "/sys/kernel", true},
    {"devtmpfs", "/dev", "/", false},
};

void ag_mount_vfs(struct ag_session *s, uint32_t id)
{
    if (!s->w.may_halt) {
        ag_reply_error(s, id, EPERM, "mount: this agent does not run in a guest");
        return;
    }
    for (size_t i = 0; i < sizeof(vfs) / sizeof(vfs[0]); i++) {
        if (is_mounted(vfs[i].path, vfs[i].parent))
            continue;
        /* sysfs makes /sys/kernel/security itself, in kernels that have securityfs. */
        if (!vfs[i].optional && ag_mkdir_p(vfs[i].path, 0755) < 0) {
            ag_reply_error(s, id, errno, "mkdir '%s'", vfs[i].path);
            return;
        }
        if (mount(vfs[i].type, vfs[i].path, vfs[i].type, 0, NULL) == 0 || errno == EBUSY ||
            (vfs[i].optional && (errno == ENODEV || errno == ENOENT)))
            continue;
        ag_reply_error(s, id, errno, "mount %s on '%s'", vfs[i].type, vfs[i].path);
        return;
    }
    ag_reply_ok(s, id, 0);
}

/* Best effort: every file system on a block device read-only, so that a writable disk is left clean. */
static void remount_readonly(int proc_fd)
{
    static char mounts[64 * 1024];
    char *save = NULL;

    if (proc_fd < 0 || ag_read_text(proc_fd, "self/mounts", mounts, sizeof(mounts)) < 0)
        return;
    for (char *line = strtok_r(mounts, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char dir[PV_PATH_MAX];

        if (strncmp(line, "/dev/", 5) == 0 && sscanf(line, "%*s %4095s", dir) == 1)
            mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    }
}

void ag_shutdown(struct ag_session *s, uint32_t id, uint32_t how)
{
    if (!s->w.may_halt) {
        ag_reply_error(s, id, EPERM, "shutdown: this agent does not run in a guest");
        return;
    }
    ag_reply_ok(s, id, 0);
    ag_flush(s, 2000);
    /* What was sent still waits for a worker of the guest's vsock driver: let the host take it first. */
    poll(&(struct pollfd){.fd = s->fd, .events = POLLRDHUP}, 1, 20);
    sync();
    remount_readonly(s->w.proc_fd);
    reboot(how == PV_SHUTDOWN_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
    s->dead = true; /* only without the right to reboot */
}
