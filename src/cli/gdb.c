/* SPDX-License-Identifier: MIT */
/* provium gdb: attaches gdb to the kernel of a running VM that was booted with a debugger's socket (guest/gdb.h). */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "guest/gdb.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/path.h"

/* Sockets, by path and by name: RUN/VM, or RUN/FILE/VM of a test file, behind the common prefix of runs. */
struct gdb_vms {
    struct pv_strv paths, names;
};

#define RUN_PREFIX "provium-"

static bool path_listens(const char *path)
{
    cleanup_file FILE *f = fopen("/proc/net/unix", "re");
    cleanup_free char *line = NULL;
    size_t cap = 0, n = strlen(path);
    ssize_t len;

    while (f && (len = getline(&line, &cap, f)) > 0) {
        if (line[len - 1] == '\n')
            line[--len] = '\0';
        if ((size_t)len > n && line[(size_t)len - n - 1] == ' ' && !strcmp(line + len - n, path))
            return true;
    }
    return false;
}

/* Adds the sockets in a directory of a run, whose name in names is `run`, and (depth 1) in those below it. */
static void gdb_scan_run(struct gdb_vms *vms, const char *dir, const char *run, unsigned depth)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        size_t n = strlen(e->d_name), end = strlen(PV_GDB_SUFFIX);
        cleanup_free char *path = pv_path_join(dir, e->d_name);
        struct stat st;

        if (e->d_name[0] == '.' || lstat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth) {
            cleanup_free char *name = pv_path_join(run, e->d_name);

            gdb_scan_run(vms, path, name, depth - 1);
        } else if (S_ISSOCK(st.st_mode) && n > end && !strcmp(e->d_name + n - end, PV_GDB_SUFFIX) &&
                   path_listens(path)) {
            pv_strv_add(&vms->paths, path);
            pv_strv_addf(&vms->names, "%s/%.*s", run, (int)(n - end), e->d_name);
        }
    }
    if (d)
        closedir(d);
}

static void gdb_scan(struct gdb_vms *vms)
{
    const char *tmp = getenv("TMPDIR");
    DIR *d = opendir(tmp && *tmp ? tmp : (tmp = "/tmp"));
    struct dirent *e;

    while (d && (e = readdir(d))) {
        cleanup_free char *dir = pv_path_join(tmp, e->d_name);
        struct stat st;

        if (!strncmp(e->d_name, RUN_PREFIX, strlen(RUN_PREFIX)) && lstat(dir, &st) == 0 &&
            S_ISDIR(st.st_mode) && st.st_uid == geteuid())
            gdb_scan_run(vms, dir, e->d_name + strlen(RUN_PREFIX), 1);
    }
    if (d)
        closedir(d);
}

/* The whole name, its last part, its first and its last part, or the socket's path. */
static bool vm_is_called(const struct gdb_vms *vms, size_t i, const char *asked)
{
    const char *name = vms->names.v[i], *vm = strrchr(name, '/') + 1;
    cleanup_free char *brief = pv_xasprintf("%.*s/%s", (int)strcspn(name, "/"), name, vm);

    if (!strcmp(asked, vms->paths.v[i]))
        return true;
    if (!strncmp(asked, RUN_PREFIX, strlen(RUN_PREFIX)))
        asked += strlen(RUN_PREFIX);
    return !strcmp(asked, name) || !strcmp(asked, vm) || !strcmp(asked, brief);
}

static int gdb_refuse(const struct gdb_vms *vms, const char *asked, size_t found, struct pv_err *err)
{
    if (!vms->names.n)
        return pv_err_set(
            err, PV_E_USAGE,
            "gdb: no VM here waits for a debugger or has a socket for one; boot one with `provium "
            "run --gdb`, `provium shell --gdb`, or vm:boot{gdb = true} in a test");
    if (asked && !found)
        pv_err_set(err, PV_E_USAGE, "gdb: no VM '%s' has a socket for a debugger; there are:", asked);
    else
        pv_err_set(err, PV_E_USAGE, "gdb: several VMs have a socket for a debugger; say which of them:");
    for (size_t i = 0; i < vms->names.n; i++)
        if (!found || vm_is_called(vms, i, asked))
            pv_err_append(err, "\n  provium gdb %s", vms->names.v[i]);
    return -1;
}

/* The path of the socket that was asked for (NULL: the only one); NULL with *err. */
static const char *gdb_choose(const struct gdb_vms *vms, const char *asked, struct pv_err *err)
{
    const char *path = NULL;
    size_t found = 0;

    for (size_t i = 0; i < vms->names.n; i++)
        if (!asked || vm_is_called(vms, i, asked)) {
            path = vms->paths.v[i];
            found++;
        }
    if (found == 1)
        return path;
    gdb_refuse(vms, asked, asked ? found : 0, err);
    return NULL;
}

/* Replaces this process by gdb; -1 with *err. */
static int gdb_exec(const char *socket, const struct pv_strv *more, struct pv_err *err)
{
    cleanup_free char *link = pv_xasprintf("%s" PV_GDB_VMLINUX, socket), *vmlinux = pv_realpath(link);
    cleanup_strv struct pv_strv argv = {0};

    pv_strv_add(&argv, "gdb");
    pv_strv_add(&argv, "-q");
    if (vmlinux) {
        /* vmlinux-gdb.py beside it loads the kernel's commands (lx-dmesg, lx-ps, lx-symbols) */
        cleanup_free char *dir = pv_path_dirname(vmlinux);

        pv_strv_add(&argv, "-iex");
        pv_strv_addf(&argv, "add-auto-load-safe-path %s", dir);
        pv_strv_add(&argv, vmlinux);
    } else {
        fprintf(
            stderr,
            "provium: no vmlinux is known, so addresses have no names; the profile's key `debug` names it\n");
    }
    pv_strv_add(&argv, "-ex");
    pv_strv_addf(&argv, "target remote %s", socket);
    for (size_t i = 0; i < more->n; i++)
        pv_strv_add(&argv, more->v[i]);
    execvp("gdb", argv.v);
    if (errno == ENOENT)
        return pv_err_set(err, PV_E_MISSING,
                          "gdb: gdb is not installed (Debian: apt install gdb); another debugger of the gdb "
                          "protocol attaches to %s",
                          socket);
    return pv_err_sys(err, errno, "gdb: cannot start gdb");
}

static const struct pv_opt options[] = {{NULL}};

static int gdb_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = options, .argc = argc, .argv = argv};
    cleanup_strv struct pv_strv more = {0};
    struct gdb_vms vms = {0};
    const char *value, *asked = NULL, *socket;
    struct pv_err err = PV_ERR_INIT;
    int i;

    while ((i = pv_opt_next(&p, &value, &err)) >= 0)
        if (i == PV_OPT_HELP) {
            pv_command_usage(&pv_command_gdb);
            return PV_EXIT_OK;
        } else if (p.words_only) {
            pv_strv_add(&more, value);
        } else if (asked) {
            return pv_cli_error(
                (pv_err_set(&err, PV_E_USAGE,
                            "gdb: one VM, got '%s' and '%s'; arguments of gdb come behind --", asked, value),
                 &err));
        } else {
            asked = value;
        }
    if (i == PV_OPT_BAD)
        return pv_cli_error(&err);
    gdb_scan(&vms);
    socket = gdb_choose(&vms, asked, &err);
    if (socket)
        gdb_exec(socket, &more, &err);
    pv_strv_free(&vms.paths);
    pv_strv_free(&vms.names);
    return pv_cli_error(&err);
}

const struct pv_command pv_command_gdb = {
    .name = "gdb",
    .run = gdb_main,
    .help = "debug the kernel of a running VM",
    .usage = "gdb [[RUN/]VM] [-- ARGUMENT...]",
    .about = "Attaches gdb to the kernel of a VM that was booted for a debugger: by\n"
             "`provium run --gdb` or `shell --gdb`, or by vm:boot{gdb = true} in a test that\n"
             "still runs. The VM stands still while gdb is attached; `continue` lets it go on,\n"
             "`detach` too. With the profile's key `debug`, or in a kernel's build tree, gdb\n"
             "has its symbols, and the kernel's own commands where it was built with\n"
             "CONFIG_GDB_SCRIPTS. Without VM: the only one. The arguments are gdb's:\n"
             "\n"
             "    provium gdb vm1 -- -ex 'hbreak panic' -ex continue",
    .opts = options,
};
