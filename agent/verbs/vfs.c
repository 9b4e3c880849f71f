/* SPDX-License-Identifier: MIT */
/* MOUNT_VFS, by mount(2): a minimal guest has no mount(8). */
#include "agent/verb.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/util.h"

/* A mount point is on another device than its parent. */
static bool is_mounted(const char *path, const char *parent)
{
    struct stat a, b;

    return stat(path, &a) == 0 && stat(parent, &b) == 0 && a.st_dev != b.st_dev;
}

static const struct {
    const char *type, *path, *parent;
    bool optional; /* the kernel may have none */
} vfs[] = {
    {"proc", "/proc", "/", false},
    {"sysfs", "/sys", "/", false},
    {"securityfs", "/sys/kernel/security", "/sys/kernel", true},
    {"devtmpfs", "/dev", "/", false},
};

static bool vfs_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    if (!pv_dec_done(d))
        return false;
    if (!s->w.in_guest) {
        ag_reply_error(s, id, EPERM, "mount: this agent does not run in a guest");
        return true;
    }
    for (size_t i = 0; i < sizeof(vfs) / sizeof(vfs[0]); i++) {
        if (is_mounted(vfs[i].path, vfs[i].parent))
            continue;
        /* In kernels with securityfs, sysfs has the directory /sys/kernel/security. */
        if (!vfs[i].optional && ag_mkdir_p(vfs[i].path, 0755) < 0) {
            ag_reply_error(s, id, errno, "mkdir '%s'", vfs[i].path);
            return true;
        }
        if (mount(vfs[i].type, vfs[i].path, vfs[i].type, 0, NULL) == 0 || errno == EBUSY ||
            (vfs[i].optional && (errno == ENODEV || errno == ENOENT)))
            continue;
        ag_reply_error(s, id, errno, "mount %s on '%s'", vfs[i].type, vfs[i].path);
        return true;
    }
    ag_reply_ok(s, id, 0);
    return true;
}

const struct ag_verb ag_verb_vfs = {.message = PV_MSG_MOUNT_VFS, .start = vfs_start};
