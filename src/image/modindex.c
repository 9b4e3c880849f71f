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
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* True for depmod's inputs: directories, and the lists that the kernel's build wrote. */
static bool is_input(const char *path, const char *name)
{
    struct stat st;

    if (!strcmp(name, "modules.order") || !strcmp(name, "modules.builtin") ||
        !strcmp(name, "modules.builtin.modinfo"))
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

char *pv_modules_index(const char *tree, struct pv_err *err)
{
    cleanup_free char *real = realpath(tree, NULL), *cache = pv_cache_dir(err), *key = NULL, *done = NULL;
    cleanup_free char *tmp = NULL, *dir = NULL, *built = NULL, *check = NULL;
    int rc;

    if (!cache)
        return NULL;
    if (!real) {
        pv_err_sys(err, errno, "cannot resolve '%s'", tree);
        return NULL;
    }
    key = make_key(real);
    dir = pv_xasprintf("%s/modules", cache);
    done = pv_xasprintf("%s/%s", dir, key);
    check = pv_xasprintf("%s/modules.dep.bin", done);
    if (access(check, R_OK) == 0)
        return pv_steal(&done);
    if (pv_mkdir_p(dir, 0700, err) < 0)
        return NULL;
    tmp = pv_xasprintf("%s/tmp-XXXXXX", dir);
    if (!mkdtemp(tmp)) {
        pv_err_sys(err, errno, "cannot make a directory in '%s'", dir);
        return NULL;
    }
    pv_debug("image", "'%s' has no modules.dep: running depmod", real);
    built = pv_xasprintf("%s/lib/modules/" VERSION, tmp);
    rc = build_index(real, tmp, built, err);
    /* If another process was faster, its index is used. */
    if (rc == 0 && rename(built, done) < 0 && access(check, R_OK) < 0)
        rc = pv_err_sys(err, errno, "cannot put the module index into '%s'", done);
    pv_rm_rf(tmp);
    return rc == 0 ? pv_steal(&done) : NULL;
}
