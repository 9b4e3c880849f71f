/* SPDX-License-Identifier: MIT */
#include "guest/gdb.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest/guest-state.h"
#include "guest/instance.h"
#include "util/err.h"
#include "util/mem.h"

static void gdb_tell(const struct pv_guest *g, const char *path)
{
    cleanup_free char *line = pv_xasprintf(
        "%s waits for a debugger; its kernel starts at gdb's continue: gdb -ex 'target remote %s' VMLINUX",
        g->name, path);

    if (g->env->observer.notice)
        g->env->observer.notice(line, g->env->observer.arg);
}

int pv_gdb_listen(struct pv_guest *g, struct pv_err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t name = strcspn(g->name, " ");
    cleanup_free char *path = NULL;
    cleanup_close int fd = -1;

    if (!g->env->host.log_dir)
        return pv_err_set(err, PV_E_USAGE, "boot option 'gdb' needs a run with a directory of its own");
    path = pv_xasprintf("%s/%.*s.gdb", g->env->host.log_dir, (int)name, g->name);
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
    gdb_tell(g, path);
    pv_instance_set_gdb(g->instance, pv_steal(&path));
    return pv_steal_fd(&fd);
}
