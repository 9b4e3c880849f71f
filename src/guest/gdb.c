/* SPDX-License-Identifier: MIT */
#include "guest/gdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest/guest-state.h"
#include "guest/instance.h"
#include "config/config.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"

static void gdb_tell(const struct pv_guest *g, bool limited)
{
    cleanup_free char *line =
        pv_xasprintf("%s waits for a debugger%s; in another terminal: provium gdb %.*s, whose `continue` "
                     "starts the kernel",
                     g->name, limited ? "" : ", without a boot timeout", (int)strcspn(g->name, " "), g->name);

    if (g->env->observer.notice)
        g->env->observer.notice(line, g->env->observer.arg);
}

/* A vmlinux among the profile's debug files, or in the build tree of DIR/arch/x86/boot/bzImage; NULL: none. */
char *pv_gdb_vmlinux(const struct pv_profile *p)
{
    cleanup_free char *real = pv_realpath(p->kernel);
    const char *tree = real ? strstr(real, "/arch/x86/boot/") : NULL;
    char *path;

    for (size_t i = 0; i < p->debug.n; i++) {
        struct stat st;

        if (stat(p->debug.v[i], &st) < 0)
            continue;
        if (S_ISREG(st.st_mode) && !strncmp(pv_path_basename(p->debug.v[i]), "vmlinux", 7))
            return pv_xstrdup(p->debug.v[i]);
        path = pv_path_join(p->debug.v[i], "vmlinux");
        if (S_ISDIR(st.st_mode) && access(path, R_OK) == 0)
            return path;
        free(path);
    }
    if (!tree)
        return NULL;
    path = pv_xasprintf("%.*s/vmlinux", (int)(tree - real), real);
    if (access(path, R_OK) == 0)
        return path;
    free(path);
    return NULL;
}

/* Gdb can do without: a link that cannot be made is no failure. */
static void gdb_link_vmlinux(const struct pv_guest *g, const char *socket)
{
    cleanup_free char *link = pv_xasprintf("%s" PV_GDB_VMLINUX, socket),
                      *vmlinux = pv_gdb_vmlinux(g->profile);

    unlink(link);
    if (vmlinux && symlink(vmlinux, link) < 0)
        pv_debug("gdb", "no link %s: %s", link, strerror(errno));
}

int pv_gdb_listen(struct pv_guest *g, bool limited, struct pv_err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t name = strcspn(g->name, " ");
    cleanup_free char *path = NULL;
    cleanup_close int fd = -1;

    if (!g->env->host.log_dir)
        return pv_err_set(err, PV_E_USAGE, "boot option 'gdb' needs a run with a directory of its own");
    path = pv_xasprintf("%s/%.*s" PV_GDB_SUFFIX, g->env->host.log_dir, (int)name, g->name);
    if (strlen(path) >= sizeof(to.sun_path))
        return pv_err_set(err, PV_E_USAGE,
                          "boot option 'gdb': the path of the socket, '%s', is longer than %zu bytes; set a "
                          "shorter TMPDIR",
                          path, sizeof(to.sun_path) - 1);
    memcpy(to.sun_path, path, strlen(path) + 1);
    unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, 1) < 0)
        return pv_err_sys(err, errno, "cannot make the debugger's socket '%s'", path);
    gdb_link_vmlinux(g, path);
    gdb_tell(g, limited);
    pv_instance_set_gdb(g->instance, pv_steal(&path));
    return pv_steal_fd(&fd);
}
