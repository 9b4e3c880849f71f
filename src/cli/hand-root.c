/* SPDX-License-Identifier: MIT */
#include "cli/hand-root.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/hand.h"
#include "config/diskformat.h"
#include "util/err.h"
#include "util/path.h"

static void profile_drop_root(struct pv_profile *p)
{
    free(p->rootfs);
    free(p->rootfs_format);
    free(p->initrd);
    free(p->root);
    free(p->rootflags);
    p->rootfs = p->rootfs_format = p->initrd = p->root = p->rootflags = NULL;
    p->builtin_userland = false;
}

static int root_set_image(struct pv_profile *p, char *path, struct pv_err *err)
{
    const char *format = pv_root_format(path, err);

    if (!format) {
        pv_err_wrap(err, "run: --rootfs '%s'", path);
        free(path);
        return -1;
    }
    profile_drop_root(p);
    p->rootfs = path;
    p->rootfs_format = pv_xstrdup(format);
    return 0;
}

/* The part of `path` below dir, "/" for dir itself; NULL: it is not in dir. */
static const char *path_below(const char *dir, const char *path)
{
    size_t n = strcmp(dir, "/") ? strlen(dir) : 0;

    if (strncmp(path, dir, n) != 0 || (path[n] && path[n] != '/'))
        return NULL;
    return path[n] ? path + n : "/";
}

/* Guest init mounts file systems of the guest's own there. */
static bool is_hidden(const char *path)
{
    static const char *const hidden[] = {"/proc", "/sys", "/dev", "/run"};

    for (size_t i = 0; i < PV_ARRAY_LEN(hidden); i++)
        if (pv_path_is_below(path, hidden[i]))
            return true;
    return false;
}

static int root_set_dir(struct hand_opts *o, char *dir, struct pv_err *err)
{
    bool host = !strcmp(dir, "/");
    char cwd[PATH_MAX];
    const char *below = getcwd(cwd, sizeof(cwd)) ? path_below(dir, cwd) : NULL;

    o->boot.root.dir = dir;
    if (access(dir, R_OK | X_OK) < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__, "run: --rootfs '%s' can not be read",
                             dir);
    if (below && !is_hidden(below))
        o->here = pv_xstrdup(below);
    if (!o->rw)
        return 0;
    if (host && (!o->here || !strcmp(o->here, "/")))
        return pv_err_set(err, PV_E_USAGE,
                          "run: --rw with the host's root writes to the working directory, and that is '%s': "
                          "change to the directory that the command may write to",
                          below ? below : "unknown");
    if (access(host ? cwd : dir, W_OK) < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__, "run: --rw: '%s' can not be written",
                             host ? cwd : dir);
    o->boot.root.writable = pv_xstrdup(host ? cwd : dir);
    return 0;
}

int pv_hand_root(struct hand_opts *o, struct pv_profile *p, struct pv_err *err)
{
    char *path = o->rootfs ? pv_realpath(strcmp(o->rootfs, "host") ? o->rootfs : "/") : NULL;
    struct stat st;

    if (o->rootfs && (!path || stat(path, &st) < 0)) {
        free(path);
        return pv_err_set(err, PV_E_USAGE,
                          "run: --rootfs '%s': there is no such image and no such directory (`host` is the "
                          "host's own root)",
                          o->rootfs);
    }
    if (path && S_ISDIR(st.st_mode)) {
        profile_drop_root(p);
        return root_set_dir(o, path, err);
    }
    if (o->boot.root.by != PV_BY_DEFAULT) {
        free(path);
        return pv_err_set(
            err, PV_E_USAGE,
            "run: --share needs --rootfs with a directory or `host`: it says how the guest reaches it");
    }
    if (o->rw) {
        free(path);
        return pv_err_set(err, PV_E_USAGE,
                          "run: --rw needs --rootfs with a directory or `host`; writes to an image are for "
                          "--disk FILE,rw");
    }
    return path ? root_set_image(p, path, err) : 0;
}
