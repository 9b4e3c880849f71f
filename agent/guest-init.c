/* SPDX-License-Identifier: MIT */
#include "boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "console.h"
#include "serve.h"
#include "switch-root.h"
#include "util.h"
#include "vsock.h"

enum { BACKLOG = 32 };

/* Prints the time since the last call, if provium.debug=1. */
static void print_time(const struct ag_boot *b, const char *step)
{
    static int64_t last;
    int64_t now;

    if (!b->debug)
        return;
    now = ag_now();
    ag_say(b, "debug: %s %lld us (+%lld)", step, (long long)(now / 1000),
           last ? (long long)((now - last) / 1000) : 0);
    last = ag_now(); /* without the time that the console took */
}

/* ---- steps ---- */

/* Leaves out the many devices that no minimal guest uses. */
static bool is_node_wanted(const char *name)
{
    static const char *const unwanted[] = {"tty", "vcs", "ttyS", "loop"};

    for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++) {
        size_t n = strlen(unwanted[i]);

        if (strncmp(name, unwanted[i], n) == 0 && strcmp(name, "tty") && strcmp(name, "ttyS0") &&
            strcmp(name, "loop-control"))
            return false;
    }
    return true;
}

/*
 * The kernel mounts nothing on the /dev of an initramfs, and a devtmpfs left there would make init's own
 * `mount -t devtmpfs` fail with EBUSY.  Device nodes, as an archive may hold them, serve an init that
 * mounts nothing.
 */
static void make_nodes(const struct ag_boot *b)
{
    char path[PV_PATH_MAX];
    struct stat st;
    int fd = b->dev_fd < 0 ? -1 : openat(b->dev_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    mkdir("/dev", 0755);
    for (struct dirent *e; d && (e = readdir(d));)
        if ((e->d_type == DT_CHR || e->d_type == DT_BLK) && is_node_wanted(e->d_name) &&
            fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            ag_format(path, sizeof(path), "/dev/%s", e->d_name))
            mknod(path, st.st_mode, st.st_rdev);
    if (d)
        closedir(d);
}

/* The kernel opens /dev/console for init only if the archive has that node. */
static void open_stdio(const struct ag_boot *b)
{
    if (fcntl(2, F_GETFD) >= 0 || b->dev_fd < 0)
        return;
    int fd = openat(b->dev_fd, "console", O_RDWR);

    for (int i = 0; i < 3 && fd >= 0; i++)
        if (i != fd)
            dup2(fd, i);
    if (fd > 2)
        close(fd);
}

static void read_conf(struct ag_boot *b)
{
    static char text[AG_CONF_MAX];
    char why[256], cmdline[8192], debug[8];

    ssize_t n = ag_read_text(AT_FDCWD, PV_BOOT_CONF, text, sizeof(text));

    if (n < 0)
        ag_fatal(b, "cannot read " PV_BOOT_CONF ": %s", strerror(errno));
    if (strlen(text) != (size_t)n)
        ag_fatal(b, PV_BOOT_CONF " has a zero byte");
    if (!ag_conf_parse(text, &b->conf, why, sizeof(why)))
        ag_fatal(b, PV_BOOT_CONF " %s", why);
    ag_format(b->init, sizeof(b->init), "/sbin/init");
    if (ag_read_text(b->proc_fd, "cmdline", cmdline, sizeof(cmdline)) < 0)
        return;
    b->debug = ag_cmdline_get(cmdline, "provium.debug", debug, sizeof(debug)) && debug[0] == '1';
    ag_cmdline_get(cmdline, "provium.init", b->init, sizeof(b->init));
}

static int listen_vsock(const struct ag_boot *b)
{
    uint32_t port = PV_AGENT_PORT;
    int fd = ag_vsock_listen(&port, BACKLOG);

    if (fd < 0)
        ag_fatal(b, "the agent cannot listen on vsock port %d: %s%s", PV_AGENT_PORT, strerror(errno),
                 b->trouble);
    return fd;
}

/* Whether the guest's root is another than the initramfs. */
static bool has_root(const struct ag_boot *b)
{
    return b->conf.rootfs || b->conf.share;
}

/* Removes everything of Provium's from the initramfs, and all of it if it is no longer the root. */
static void remove_own_files(struct ag_boot *b)
{
    unlinkat(b->root_fd, &PV_GUEST_INIT_PATH[1], 0);
    ag_remove_tree(b->root_fd, &PV_BOOT_DIR[1]);
    if (has_root(b)) { /* the initramfs is out of reach: free its memory */
        int fd = openat(b->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);

        for (struct dirent *e; d && (e = readdir(d));)
            if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
                ag_remove_tree(fd, e->d_name);
        if (d)
            closedir(d);
    }
    close(b->root_fd);
}

/* Everything up to the fork of the agent; returns what its supervisor serves. */
static struct ag_serve prepare_guest(struct ag_boot *b)
{
    struct ag_serve s = {.listen_fd = -1, .port_fd = -1};

    b->dev_fd = ag_private_mount("devtmpfs", AG_DEV_DIR);
    open_stdio(b);
    b->proc_fd = ag_private_mount("proc", AG_PROC_DIR);
    if (b->proc_fd < 0)
        ag_fatal(b, "cannot mount proc: %s", strerror(errno));
    b->root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    b->files_fd = open(PV_BOOT_FILES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    read_conf(b);
    print_time(b, "start");
    ag_check_arrival(b);
    print_time(b, "arrival");
    for (size_t i = 0; i < b->conf.n_modules; i++)
        ag_module_load(b, b->conf.modules[i]);
    print_time(b, "modules");
    if (b->conf.serial)
        b->sys_fd = ag_private_mount("sysfs", AG_SYS_DIR);
    else
        s.listen_fd = listen_vsock(b);
    if (has_root(b))
        ag_rootfs_switch(b);
    if (!(b->conf.userland && ag_userland_prepare(b)) && !has_root(b))
        make_nodes(b);
    print_time(b, has_root(b) ? "rootfs" : b->conf.userland ? "userland" : "nodes");
    ag_switch_prepare(b);
    ag_inject(b);
    print_time(b, "files");
    if (!b->conf.idle)
        ag_choose_init(b);
    remove_own_files(b);
    print_time(b, "tidy");
    if (b->conf.serial)
        s.port_fd = ag_port_open(b, b->conf.serial);
    if (b->sys_fd >= 0)
        close(b->sys_fd);
    s.proc_fd = b->proc_fd;
    s.dev_fd = b->dev_fd;
    s.boot = b;
    return s;
}

/* The agent's supervisor is a child, so that wait blocks while the guest is of use. */
static _Noreturn void init_idle(void)
{
    prctl(PR_SET_NAME, "init");
    for (;;)
        if (wait(NULL) < 0 && errno != EINTR)
            pause();
}

void ag_guest_init_main(char **argv, char **envp)
{
    static struct ag_boot boot = {.sys_fd = -1, .dev_fd = -1, .files_fd = -1, .proc_fd = -1};
    struct ag_boot *b = &boot;

    umask(0);
    struct ag_serve s = prepare_guest(b);
    int executed[2];
    pid_t pid = pipe2(executed, O_CLOEXEC) < 0 ? -1 : fork();

    if (pid < 0)
        ag_fatal(b, "cannot start the agent: %s", strerror(errno));
    if (pid == 0) {
        close(executed[1]);
        s.exec_fd = executed[0];
        ag_serve_main(&s, argv);
    }
    close(executed[0]);
    ag_switch_started(b);
    print_time(b, "fork");
    umask(022);
    if (b->conf.idle) {
        close(executed[1]);
        init_idle();
    }
    argv[0] = b->init;
    execve(b->init, argv, envp);
    ag_fatal(b, "cannot run init '%s': %s", b->init, strerror(errno));
}
