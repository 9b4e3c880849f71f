/* SPDX-License-Identifier: MIT */
#include "vm/confine.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"
#include "vm/qcow2.h"
#include "vm/share.h"
#include "vm/spec.h"

/* Newer than the oldest kernel headers that Provium is built with. */
#define FS_REFER (UINT64_C(1) << 13)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define NET_TCP UINT64_C(3)
#define SCOPE_ALL UINT64_C(3) /* abstract sockets and signals */

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

#define FILE_READ ((uint64_t)LANDLOCK_ACCESS_FS_READ_FILE)
#define TREE_READ (FILE_READ | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)
#define FILE_WRITE (FILE_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)
#define SHARE_READ (FILE_READ | LANDLOCK_ACCESS_FS_READ_DIR)
#define SHARE_WRITE \
    (SHARE_READ | FILE_WRITE | FS_REFER | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
     LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define FILE_RIGHTS (FILE_WRITE | LANDLOCK_ACCESS_FS_EXECUTE)

struct ruleset {
    int fd, version;
    uint64_t handled;
    uint64_t chain; /* access to the images of the disk that is being added */
};

static const struct {
    const char *path;
    uint64_t access;
} host_paths[] = {
    {"/usr", TREE_READ},
    {"/lib", TREE_READ},
    {"/lib64", TREE_READ},
    {"/bin", TREE_READ},
    {"/sbin", TREE_READ},
    {"/nix/store", TREE_READ},
    {"/gnu/store", TREE_READ},
    {"/etc/ld.so.cache", FILE_READ},
    {"/etc/ld.so.preload", FILE_READ},
    {"/etc/localtime", FILE_READ},
    {"/etc/qemu", TREE_READ},
    {"/etc/gnutls", TREE_READ},
    {"/etc/crypto-policies", TREE_READ},
    {"/proc/cpuinfo", FILE_READ},
    {"/proc/meminfo", FILE_READ},
    {"/proc/sys", TREE_READ},
    {"/sys/devices/system", TREE_READ},
    {"/sys/kernel/mm", TREE_READ},
    {"/dev/null", FILE_WRITE},
    {"/dev/zero", FILE_WRITE},
    {"/dev/full", FILE_WRITE},
    {"/dev/random", FILE_WRITE},
    {"/dev/urandom", FILE_WRITE},
    {"/dev/kvm", FILE_WRITE},
    {"/dev/vhost-vsock", FILE_WRITE},
};

int pv_confine_landlock(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

    return version > 0 ? (int)version : 0;
}

/* A file's rule may have rights of files only.  A file of the kernel's own (memfd) needs no rule and gets none. */
static void rule_add_fd(const struct ruleset *r, int fd, uint64_t access)
{
    struct landlock_path_beneath_attr a = {.parent_fd = fd, .allowed_access = access & r->handled};
    struct stat st;

    if (fstat(fd, &st) < 0)
        return;
    if (!S_ISDIR(st.st_mode))
        a.allowed_access &= FILE_RIGHTS;
    syscall(SYS_landlock_add_rule, r->fd, LANDLOCK_RULE_PATH_BENEATH, &a, 0U);
}

/* A path that is not there gets no rule: QEMU finds nothing there either. */
static void rule_add(const struct ruleset *r, const char *path, uint64_t access)
{
    cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd >= 0)
        rule_add_fd(r, fd, access);
}

static void rule_add_image(const char *path, void *arg)
{
    struct ruleset *r = arg;

    rule_add(r, path, r->chain);
    r->chain = FILE_READ; /* below the first image of a chain */
}

static void rules_add_disks(struct ruleset *r, const struct pv_vm_spec *spec)
{
    for (size_t i = 0; i < spec->n_disks; i++) {
        const struct pv_vm_disk *d = &spec->disks[i];

        if (d->served)
            continue;
        r->chain = d->readonly || d->snapshot ? FILE_READ : FILE_WRITE;
        pv_disk_chain(d->path, d->format, true, rule_add_image, r, NULL);
    }
}

/* No right to run what lies there, none to make devices. */
static void rules_add_shares(const struct ruleset *r, const struct pv_vm_spec *spec)
{
    for (size_t i = 0; i < spec->n_shares; i++)
        if (spec->shares[i].by == PV_SHARE_9P)
            rule_add(r, spec->shares[i].dir, spec->shares[i].writable ? SHARE_WRITE : SHARE_READ);
}

/* QEMU opens the regular files among them anew, by /proc/self/fd. */
static void rules_add_fds(const struct ruleset *r, const struct pv_vm_spec *spec,
                          const struct pv_spawn_fd *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int flags = fcntl(fds[i].from, F_GETFL);
        bool reads = (flags & O_ACCMODE) == O_RDONLY;
        struct stat st;

        if (flags < 0 || fstat(fds[i].from, &st) < 0 || !S_ISREG(st.st_mode))
            continue;
        /* A QEMU before 8.2 opens a privately mapped memory file for writing, too. */
        if (reads && (fds[i].to != PV_QEMU_FD_MEMORY || spec->memory.read_only))
            rule_add_fd(r, fds[i].from, FILE_READ);
        else
            rule_add_fd(r, fds[i].from, reads ? FILE_WRITE & ~FS_TRUNCATE : FILE_WRITE);
    }
}

/* A QEMU from its build directory has its libraries and firmware beside it or one level up. */
static void rules_add_program(const struct ruleset *r, const char *qemu)
{
    char real[PATH_MAX];
    cleanup_free char *dir = NULL, *above = NULL;

    if (!realpath(qemu, real))
        return;
    dir = pv_path_dirname(real);
    above = pv_path_dirname(dir);
    rule_add(r, real, FILE_READ | LANDLOCK_ACCESS_FS_EXECUTE);
    rule_add(r, dir, TREE_READ);
    if (strcmp(above, "/") != 0 && strcmp(above, "/home") != 0 && strcmp(above, "/root") != 0)
        rule_add(r, above, TREE_READ);
}

/*
 * A monitor or gdb socket that qemu_args ask for by its path: QEMU makes it, in place of an old one.  `arg` is one
 * argument of QEMU, "unix:/tmp/vm.qmp,server=on" or "socket,path=/tmp/vm.qmp,id=q".
 */
static void rules_add_sockets(const struct ruleset *r, const char *arg)
{
    static const char *const before[] = {"unix:", "path="};

    for (size_t i = 0; i < PV_ARRAY_LEN(before); i++)
        for (const char *at = strstr(arg, before[i]); at; at = strstr(at, before[i])) {
            cleanup_free char *path = NULL, *dir = NULL;

            at += strlen(before[i]);
            path = pv_xasprintf("%.*s", (int)strcspn(at, ","), at);
            dir = pv_path_dirname(path);
            rule_add(r, dir, LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE);
        }
}

/*
 * A new ruleset in *r, for a program and what it needs of the system; alone: without TCP and signals to others.  False:
 * none can be made.
 */
static bool ruleset_make(struct ruleset *r, const char *program, bool alone)
{
    struct ruleset_attr attr = {0};
    size_t size;

    r->version = pv_confine_landlock();
    if (!r->version)
        return false;
    size = r->version >= 6 ? sizeof(attr) : r->version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    r->handled = (UINT64_C(1) << (r->version >= 3 ? 15 : r->version == 2 ? 14 : 13)) - 1;
    attr.fs = r->handled;
    attr.net = alone ? NET_TCP : 0;
    attr.scoped = alone ? SCOPE_ALL : 0;
    r->fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0U);
    if (r->fd < 0) {
        pv_debug("vm", "no Landlock ruleset can be made: '%s' may open what the user can", program);
        return false;
    }
    for (size_t i = 0; i < PV_ARRAY_LEN(host_paths); i++)
        rule_add(r, host_paths[i].path, host_paths[i].access);
    rules_add_program(r, program);
    return true;
}

int pv_confine_share(const struct pv_vm_share *share, const char *program)
{
    struct ruleset r = {.fd = -1};

    if (!ruleset_make(&r, program, true))
        return -1;
    rule_add(&r, share->dir, share->writable ? SHARE_WRITE : SHARE_READ);
    return r.fd;
}

int pv_confine_ruleset(const struct pv_vm_spec *spec, const char *qemu, const struct pv_spawn_fd *fds,
                       unsigned n)
{
    struct ruleset r = {.fd = -1};
    bool alone = !spec->extra_args || !spec->extra_args[0];

    if (!ruleset_make(&r, qemu, alone))
        return -1;
    if (spec->kernel && spec->kernel_fd <= 0)
        rule_add(&r, spec->kernel, FILE_READ);
    rules_add_disks(&r, spec);
    rules_add_shares(&r, spec);
    for (size_t i = 0; !alone && spec->extra_args[i]; i++)
        rules_add_sockets(&r, spec->extra_args[i]);
    rules_add_fds(&r, spec, fds, n);
    return r.fd;
}

extern char **environ;

void pv_confine_env(struct pv_strv *env)
{
    static const char *const kept[] = {"PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ"};

    for (size_t i = 0; i < PV_ARRAY_LEN(kept); i++)
        if (getenv(kept[i]))
            pv_strv_addf(env, "%s=%s", kept[i], getenv(kept[i]));
    for (char **e = environ; *e; e++) /* our own tests find the processes of a run by such a mark */
        if (!strncmp(*e, "PROVIUM_", 8))
            pv_strv_add(env, *e);
    pv_strv_add(env, "LANG=C.UTF-8");
}
