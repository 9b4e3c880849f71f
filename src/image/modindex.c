/* SPDX-License-Identifier: MIT */
/*
 * A kernel package that was unpacked and not installed has modules but no modules.dep, and its tree may be
 * read-only.  depmod(8) then runs once with its output in CACHE/modules/KEY: its indexes, and links to the
 * tree's own directories, so that the directory is a complete modules tree for libkmod.
 */
#include "image/modindex.h"

#include <blake2.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cachedir.h"
#include "util/digest.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"

enum { DEPMOD_LIMIT_MS = 60000 };

/* The version in depmod's command line and in the path of the links; it need not be the kernel's. */
#define VERSION "0.0.0-provium"

/* The key of the tree's present state: adding or removing modules touches one of these paths. */
static char *make_key(const char *tree)
{
    static const char *const looked_at[] = {".",     "kernel",        "updates",
                                            "extra", "modules.order", "modules.builtin"};
    cleanup_buf struct pv_buf b = {0};
    uint8_t hash[16];
    char *key = pv_xcalloc(1, 2 * sizeof(hash) + 1);

    for (size_t i = 0; i < PV_ARRAY_LEN(looked_at); i++) {
        cleanup_free char *path = pv_path_join(tree, looked_at[i]);
        struct stat st;

        if (stat(path, &st) < 0)
            continue;
        pv_buf_addf(&b, "%s %ju %ju %jd %jd.%09ld;", looked_at[i], (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
                    (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    }
    blake2b(hash, b.data, NULL, sizeof(hash), b.len, 0);
    pv_hex(hash, sizeof(hash), key);
    return key;
}

static int run_depmod(const char *base, struct pv_err *err)
{
    static const char *const places[] = {"depmod", "/sbin/depmod", "/usr/sbin/depmod"};
    char *argv[] = {"depmod", "-b", (char *)base, VERSION, NULL};
    int status = -1, pidfd = -1;
    pid_t pid = -1;

    for (size_t i = 0; pid < 0 && i < PV_ARRAY_LEN(places); i++)
        pid = pv_spawn(&(struct pv_spawn){.file = places[i], .argv = argv}, &pidfd, err);
    if (pid < 0)
        return -1;
    if (poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, DEPMOD_LIMIT_MS) <= 0)
        kill(pid, SIGKILL);
    pv_close(&pidfd);
    waitpid(pid, &status, 0);
    if (status != 0) {
        char text[64];

        return pv_err_set(err, PV_E_HOST, "depmod: %s", pv_wait_status_text(status, text));
    }
    return 0;
}

/* True for the lists that the kernel's build wrote. */
static bool is_list(const char *name)
{
    return !strcmp(name, "modules.order") || !strcmp(name, "modules.builtin") ||
           !strcmp(name, "modules.builtin.modinfo");
}

/* True for depmod's inputs: directories, and the lists that the kernel's build wrote. */
static bool is_input(const char *path, const char *name)
{
    struct stat st;

    if (is_list(name))
        return true;
    /* "build" and "source" are links to the kernel's headers */
    return name[0] != '.' && strcmp(name, "build") && strcmp(name, "source") && stat(path, &st) == 0 &&
           S_ISDIR(st.st_mode);
}

static int link_inputs(const char *tree, const char *out)
{
    DIR *d = opendir(tree);
    int rc = 0;

    for (struct dirent *e; d && rc == 0 && (e = readdir(d));) {
        cleanup_free char *from = pv_path_join(tree, e->d_name), *to = pv_path_join(out, e->d_name);

        if (is_input(from, e->d_name))
            rc = symlink(from, to);
    }
    if (!d)
        return -1;
    closedir(d);
    return rc;
}

/* Makes `out`, the directory base/lib/modules/VERSION. */
static int build_index(const char *tree, const char *base, const char *out, struct pv_err *err)
{
    if (pv_mkdir_p(out, 0700, err) < 0)
        return -1;
    if (link_inputs(tree, out) < 0)
        return pv_err_sys(err, errno, "cannot link the directories of '%s'", tree);
    return run_depmod(base, err);
}

/* True for a file that libkmod may read: an index of depmod, or a link of link_inputs. */
static bool is_own_entry(const struct stat *st, const char *name)
{
    if (st->st_uid != geteuid())
        return false;
    return S_ISREG(st->st_mode) ||
           (S_ISLNK(st->st_mode) && (is_list(name) || strncmp(name, "modules.", 8) != 0));
}

/* Checks all entries, because libkmod reads most of them, by their paths. */
static int index_check(int index, const char *path, struct pv_err *err)
{
    int fd = openat(index, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d) {
        pv_err_sys(err, errno, "cannot read directory '%s'", path);
        pv_close(&fd);
        return -1;
    }
    for (struct dirent *e; rc == 0 && (e = readdir(d));) {
        struct stat st;

        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (fstatat(index, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !is_own_entry(&st, e->d_name))
            rc = pv_err_set(err, PV_E_USAGE, "'%s/%s' is no file of user %u: remove it", path, e->d_name,
                            (unsigned)geteuid());
    }
    closedir(d);
    return rc;
}

/* 1: CACHE/modules/KEY is an index of this user, 0: there is none, -1 with *err: it is not to be trusted. */
static int index_find(const struct pv_cachedir *dir, const char *key, struct pv_err *err)
{
    cleanup_free char *path = pv_path_join(dir->path, key);
    struct pv_err why = PV_ERR_INIT;
    cleanup_close int fd = pv_own_dir(dir->fd, key, path, &why);
    struct stat st;

    if (fd < 0 && why.errnum == ENOENT)
        return 0;
    if (fd < 0) {
        if (err)
            *err = why;
        return -1;
    }
    if (fstatat(fd, "modules.dep.bin", &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return index_check(fd, path, err) < 0 ? -1 : 1;
}

/* Makes CACHE/modules/KEY in a temporary directory and renames it into place. */
static int index_make(const struct pv_cachedir *dir, const char *key, const char *tree, struct pv_err *err)
{
    cleanup_free char *name = NULL, *tmp = NULL, *inner = NULL, *built = NULL;
    uint64_t random = 0;
    int rc;

    if (getrandom(&random, sizeof(random), 0) < 0)
        random = (uint64_t)getpid(); /* a collision is an error of mkdirat */
    name = pv_xasprintf("tmp-%016" PRIx64, random);
    tmp = pv_path_join(dir->path, name);
    if (mkdirat(dir->fd, name, 0700) < 0)
        return pv_err_sys(err, errno, "cannot make a directory in '%s'", dir->path);
    pv_debug("image", "'%s' has no modules.dep: running depmod", tree);
    inner = pv_xasprintf("%s/lib/modules/" VERSION, name);
    built = pv_path_join(dir->path, inner);
    rc = build_index(tree, tmp, built, err);
    /* If another process was faster, its index is used. */
    if (rc == 0 && renameat(dir->fd, inner, dir->fd, key) < 0) {
        int saved = errno;

        if (index_find(dir, key, NULL) != 1)
            rc = pv_err_sys(err, saved, "cannot put the module index into '%s/%s'", dir->path, key);
    }
    pv_rm_rf(tmp);
    return rc;
}

char *pv_modules_index(const char *tree, struct pv_err *err)
{
    cleanup_free char *real = pv_realpath(tree), *key = NULL;
    cleanup_cachedir struct pv_cachedir dir = PV_CACHEDIR_INIT;
    int found;

    if (!real) {
        pv_err_sys(err, errno, "cannot resolve '%s'", tree);
        return NULL;
    }
    if (pv_cachedir_open(&dir, "modules", err) < 0)
        return NULL;
    key = make_key(real);
    found = index_find(&dir, key, err);
    if (found < 0 || (found == 0 && index_make(&dir, key, real, err) < 0))
        return NULL;
    return pv_path_join(dir.path, key);
}
