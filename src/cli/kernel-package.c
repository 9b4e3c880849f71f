/* SPDX-License-Identifier: MIT */
#include "cli/kernel-package.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/kernel.h"
#include "image/kconfig.h"
#include "util/cachedir.h"
#include "util/clock.h"
#include "util/digest.h"
#include "util/err.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"

enum {
    VERSION_MAX = 100,
    LOG_MAX = 64 << 10,
    UNPACK_LIMIT_MS = 120000,
    DOWNLOAD_LIMIT_MS = 600000,
    LOCK_LIMIT_MS = DOWNLOAD_LIMIT_MS + UNPACK_LIMIT_MS,
    KEPT = 8 /* packages, of up to 400 MB each */
};

/*
 * CACHE/packages while this process adds to it.  Its lock is held, so what lies in the directory `new` is of nobody,
 * and the signals that end the program wait until it is gone.
 */
struct store {
    struct pv_cachedir dir;
    int lock;
    int ended; /* readable: one of these signals is pending */
    sigset_t before;
    char *new;
};

static void store_close(struct store *s)
{
    if (s->new)
        pv_rm_rf(s->new);
    free(s->new);
    pv_close(&s->lock);
    pv_cachedir_close(&s->dir);
    if (s->ended >= 0)
        sigprocmask(SIG_SETMASK, &s->before, NULL);
    pv_close(&s->ended);
}

static int store_lock(struct store *s, struct pv_err *err)
{
    s->lock = pv_cachedir_file(&s->dir, "lock", O_RDWR | O_CREAT, err);
    if (s->lock < 0)
        return -1;
    if (pv_lock_until(s->lock, pv_deadline(LOCK_LIMIT_MS * PV_NSEC_PER_MSEC), s->ended) == 0)
        return 0;
    if (errno == ETIMEDOUT)
        return pv_err_set(err, PV_E_TIMEOUT, "another provium holds '%s/lock'", s->dir.path);
    if (errno == ECANCELED)
        return pv_err_set(err, PV_E_HOST, "interrupted");
    return pv_err_sys(err, errno, "cannot lock '%s/lock'", s->dir.path);
}

/* store_close takes it back also after -1. */
static int store_open(struct store *s, struct pv_err *err)
{
    sigset_t ends;

    *s = (struct store){.dir = PV_CACHEDIR_INIT, .lock = -1, .ended = -1};
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    if (pv_cachedir_open(&s->dir, "packages", err) < 0)
        return -1;
    s->ended = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->ended < 0)
        return pv_err_sys(err, errno, "signalfd");
    sigprocmask(SIG_BLOCK, &ends, &s->before);
    if (store_lock(s, err) < 0)
        return -1;
    s->new = pv_path_join(s->dir.path, "new");
    pv_rm_rf(s->new);
    return pv_mkdir_p(s->new, 0700, err);
}

#define cleanup_store __attribute__((cleanup(store_close)))

/* ---- programs ---- */

/* Runs argv in the directory `new`, with its output in the file `log` there.  Returns waitpid's status. */
static int run_program(const struct store *s, char *const argv[], int limit_ms, struct pv_err *err)
{
    cleanup_free char *log = pv_path_join(s->new, "log");
    cleanup_close int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const struct pv_spawn_fd fds[] = {{out, 1}, {out, 2}};
    struct pollfd wait[] = {{.fd = -1, .events = POLLIN}, {.fd = s->ended, .events = POLLIN}};
    int status = -1;
    pid_t pid;

    if (out < 0)
        return pv_err_sys(err, errno, "cannot write '%s'", log);
    pid = pv_spawn(&(struct pv_spawn){.file = argv[0], .argv = argv, .cwd = s->new, .fds = fds, .n_fds = 2},
                   &wait[0].fd, err);
    if (pid < 0)
        return -1;
    if (poll(wait, 2, limit_ms) <= 0 || wait[1].revents)
        kill(pid, SIGKILL);
    pv_close(&wait[0].fd);
    waitpid(pid, &status, 0);
    return status;
}

/* The last line of what the program said, which names the reason; "" without one.  The caller frees. */
static char *last_line(const struct store *s)
{
    cleanup_free char *log = pv_path_join(s->new, "log");
    cleanup_buf struct pv_buf text = {0};
    const char *at;

    if (pv_read_file(log, LOG_MAX, &text, NULL) < 0 || !text.len)
        return pv_xstrdup("");
    while (text.len && text.data[text.len - 1] == '\n')
        text.data[--text.len] = '\0';
    at = strrchr(text.data, '\n');
    return pv_xstrdup(at ? at + 1 : text.data);
}

/* Makes CACHE/packages/NAME of the package's files. */
static int package_unpack(const struct store *s, const char *package, const char *name, struct pv_err *err)
{
    char *argv[] = {"dpkg-deb", "-x", (char *)package, "root", NULL};
    cleanup_free char *root = pv_path_join(s->new, "root");
    cleanup_free char *to = pv_path_join(s->dir.path, name);
    int status = run_program(s, argv, UNPACK_LIMIT_MS, err);

    if (status < 0)
        return pv_err_wrap(err, "--kernel '%s'", package);
    if (status != 0) {
        cleanup_free char *why = last_line(s);

        return pv_err_set(err, PV_E_USAGE,
                          "--kernel '%s': dpkg-deb cannot unpack it: it is no Debian package, or damaged: %s",
                          package, why);
    }
    if (rename(root, to) < 0)
        return pv_err_sys(err, errno, "cannot rename '%s' to '%s'", root, to);
    return 0;
}

/* The directory of CACHE/packages that was used least lately, where there are more than KEPT; NULL: there are not. */
static char *oldest(const struct store *s)
{
    struct dirent **list;
    struct timespec first = {0};
    char *found = NULL;
    int n = scandir(s->dir.path, &list, NULL, NULL), dirs = 0;

    for (int i = 0; i < n; i++) {
        cleanup_free char *path = pv_path_join(s->dir.path, list[i]->d_name);
        struct stat st;

        if (list[i]->d_name[0] != '.' && strcmp(path, s->new) != 0 && lstat(path, &st) == 0 &&
            S_ISDIR(st.st_mode)) {
            if (!found || st.st_mtim.tv_sec < first.tv_sec) {
                free(found);
                found = pv_xstrdup(path);
                first = st.st_mtim;
            }
            dirs++;
        }
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    if (dirs > KEPT)
        return found;
    free(found);
    return NULL;
}

/* A directory's time says when it was used. */
static void package_used(const struct store *s, const char *name)
{
    cleanup_free char *path = pv_path_join(s->dir.path, name);
    char *old;

    utimensat(AT_FDCWD, path, NULL, 0);
    while ((old = oldest(s))) {
        bool gone = pv_rm_rf(old) == 0;

        free(old);
        if (!gone)
            break;
    }
}

/* The kernel in CACHE/packages/NAME. */
static int kernel_of_unpacked(const struct store *s, const char *name, const char *package,
                              struct hand_kernel *k, struct pv_err *err)
{
    cleanup_free char *boot = pv_xasprintf("%s/%s/boot", s->dir.path, name);

    package_used(s, name);
    k->image = pv_hand_image_versioned(boot);
    if (!k->image)
        return pv_err_set(
            err, PV_E_USAGE,
            "--kernel '%s': the package has no boot/vmlinuz-VERSION: expected a linux-image package, as "
            "`apt download linux-image-cloud-amd64`'s dependency; where Debian has the kernel and its "
            "modules in "
            "packages of their own (Linux 7), unpack linux-binary-VERSION, linux-base-VERSION and "
            "linux-modules-VERSION by `dpkg-deb -x` into one directory, and give --kernel its "
            "usr/lib/modules/VERSION",
            package);
    k->config = pv_kconfig_find(k->image, NULL);
    const char *release = pv_path_basename(k->image) + strlen("vmlinuz-");

    k->modules = pv_hand_path_if(pv_xasprintf("%s/%s/lib/modules/%s", s->dir.path, name, release), S_IFDIR);
    if (!k->modules)
        k->modules =
            pv_hand_path_if(pv_xasprintf("%s/%s/usr/lib/modules/%s", s->dir.path, name, release), S_IFDIR);
    return 0;
}

static bool store_has(const struct store *s, const char *name)
{
    cleanup_free char *dir = pv_path_join(s->dir.path, name);

    return pv_hand_is_kind(dir, S_IFDIR);
}

int pv_hand_kernel_of_package(const char *package, struct hand_kernel *k, struct pv_err *err)
{
    cleanup_store struct store s;
    cleanup_close int fd = open(package, O_RDONLY | O_CLOEXEC);
    char digest[PV_DIGEST_TEXT];

    if (store_open(&s, err) < 0)
        return -1;
    if (fd < 0 || pv_digest_fd(fd, digest) < 0)
        return pv_err_sys(err, errno, "--kernel: cannot read '%s'", package);
    if (!store_has(&s, digest) && package_unpack(&s, package, digest, err) < 0)
        return -1;
    return kernel_of_unpacked(&s, digest, package, k, err);
}

/* ---- Debian's versions ---- */

bool pv_hand_debian_version(const char *spec)
{
    cleanup_free char *apt = pv_find_program("apt-get");
    size_t n = strlen(spec), end = strlen("-amd64");

    return apt && n > end && n < VERSION_MAX && spec[0] >= '0' && spec[0] <= '9' &&
           !strcmp(spec + n - end, "-amd64") && strspn(spec, "abcdefghijklmnopqrstuvwxyz0123456789.+~-") == n;
}

/* The first *.deb of a directory; NULL: none.  The caller frees. */
static char *deb_in(const char *dir)
{
    struct dirent **list;
    char *found = NULL;
    int n = scandir(dir, &list, NULL, NULL);

    for (int i = 0; i < n; i++) {
        const char *dot = strrchr(list[i]->d_name, '.');

        if (!found && dot && !strcmp(dot, ".deb"))
            found = pv_hand_path_if(pv_path_join(dir, list[i]->d_name), S_IFREG);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return found;
}

static char *debian_download(const struct store *s, const char *package, struct pv_err *err)
{
    /* As root apt-get would download as its own user, who cannot write to the directory. */
    char *argv[] = {"apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", (char *)package, NULL};
    char *deb = NULL;

    fprintf(stderr, "provium: getting %s (apt-get download)\n", package);
    int status = run_program(s, argv, DOWNLOAD_LIMIT_MS, err);

    if (status < 0)
        return NULL;
    if (status == 0)
        deb = deb_in(s->new);
    if (!deb) {
        cleanup_free char *why = last_line(s);

        pv_err_set(
            err, PV_E_USAGE,
            "--kernel: /boot has no such kernel, and apt-get cannot get %s: %s; expected a version that "
            "`apt list 'linux-image-[0-9]*'` names, and lists of packages that are not too old (as "
            "root: apt-get update)",
            package, why);
    }
    return deb;
}

int pv_hand_kernel_of_debian(const char *version, struct hand_kernel *k, struct pv_err *err)
{
    cleanup_store struct store s;
    cleanup_free char *package = pv_xasprintf("linux-image-%s", version);

    if (store_open(&s, err) < 0)
        return -1;
    if (!store_has(&s, package)) {
        cleanup_free char *deb = debian_download(&s, package, err);

        if (!deb || package_unpack(&s, deb, package, err) < 0)
            return -1;
    }
    return kernel_of_unpacked(&s, package, package, k, err);
}
