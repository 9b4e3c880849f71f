/* SPDX-License-Identifier: MIT */
/*
 * Between fork and exec: nothing here allocates.  The directory is cloned with all mounts below it, and the clone gets its
 * flags before it is attached, so that there is no moment in which it can be written.  The rest, which the daemon leaves when
 * it enters its own sandbox, is read-only, too.
 */
#include "vm/virtiofsd-view.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/path.h"

enum { FILES_MAX = 1000000 };

const char *pv_virtiofsd_place(const char *program)
{
    static const char *const places[] = {"/mnt", "/srv", "/media", "/tmp"};
    struct stat st;

    for (size_t i = 0; i < PV_ARRAY_LEN(places); i++)
        if (stat(places[i], &st) == 0 && S_ISDIR(st.st_mode) && !pv_path_is_below(program, places[i]))
            return places[i];
    return NULL;
}

static int told(const char *what)
{
    int e = errno;

    dprintf(2, "%s: %s\n", what, strerror(e));
    errno = e;
    return -1;
}

/* The guest has its own: of the host's they would show processes, devices and the sockets of its services. */
static int hide_kernel(const char *place)
{
    static const char *const hidden[] = {"proc", "sys", "dev", "run"};
    char path[64];

    for (size_t i = 0; i < PV_ARRAY_LEN(hidden); i++) {
        snprintf(path, sizeof(path), "%s/%s", place, hidden[i]);
        if (mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=755") <
                0 &&
            errno != ENOENT)
            return told("cannot hide a file system of the kernel");
    }
    return 0;
}

/* Mounts that the host makes later do not appear in it: they would be writable. */
static int view_mount(const struct pv_virtiofsd_view *v)
{
    struct mount_attr attr = {.attr_set = (v->writable ? 0 : MOUNT_ATTR_RDONLY) | MOUNT_ATTR_NOSUID |
                                          MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                              .propagation = MS_PRIVATE};
    struct mount_attr all = {.attr_set = MOUNT_ATTR_RDONLY};
    int tree;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return told("cannot make a mount namespace");
    tree = open_tree(AT_FDCWD, v->dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (tree < 0)
        return told("cannot clone the mounts of the directory");
    if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
        return told("cannot make the directory read-only (Linux 5.12 or newer is needed)");
    if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &all, sizeof(all)) < 0)
        return told("cannot make the rest of the host read-only");
    if (move_mount(tree, "", AT_FDCWD, v->place, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return told("cannot mount the directory");
    close(tree);
    return strcmp(v->dir, "/") ? 0 : hide_kernel(v->place);
}

/* Only who may raise the hard limit gets beyond it. */
static void raise_files(void)
{
    struct rlimit had, want = {FILES_MAX, FILES_MAX};

    if (getrlimit(RLIMIT_NOFILE, &had) < 0 || had.rlim_cur >= FILES_MAX)
        return;
    if (had.rlim_max >= FILES_MAX)
        want.rlim_max = had.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &want) < 0) {
        had.rlim_cur = had.rlim_max;
        setrlimit(RLIMIT_NOFILE, &had);
    }
}

int pv_virtiofsd_enter(const void *view)
{
    const struct pv_virtiofsd_view *v = view;

    raise_files();
    return v->place ? view_mount(v) : 0;
}
