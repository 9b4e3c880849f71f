/* SPDX-License-Identifier: MIT */
#include "boot.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <linux/mount.h>

#include "serve.h"
#include "util.h"

/* ---- the console ---- */

static void console_line(const struct ag_boot *b, const char *mark, const char *text)
{
    char line[4096 + 64];
    struct stat st;
    int n = snprintf(line, sizeof(line), "%s%s\n", mark, text);
    bool err_is_console = fstat(2, &st) == 0 && S_ISCHR(st.st_mode);
    int fd = b->dev_fd < 0 ? -1 : openat(b->dev_fd, "console", O_WRONLY | O_NOCTTY | O_CLOEXEC);

    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1;
    if (fd >= 0) {
        ag_write_all(fd, line, len);
        tcdrain(fd);
        close(fd);
    }
    /* stderr too, where it is not the console that has just been written to. */
    if (fd < 0 || !err_is_console) {
        ag_write_all(2, line, len);
        tcdrain(2);
    }
}

void ag_say(const struct ag_boot *b, const char *fmt, ...)
{
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    console_line(b, "provium: ", text);
}

void ag_fatal(const struct ag_boot *b, const char *fmt, ...)
{
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    console_line(b, PV_FATAL_MARK, text);
    reboot(RB_AUTOBOOT);
    for (;;) /* PID 1 must not end: that would be a kernel panic instead of our line */
        pause();
}

static void debug_time(const struct ag_boot *b, const char *what)
{
    static int64_t last;
    int64_t now;

    if (!b->debug)
        return;
    now = ag_now();
    ag_say(b, "debug: %s %lld us (+%lld)", what, (long long)(now / 1000),
           last ? (long long)((now - last) / 1000) : 0);
    last = ag_now(); /* the console's own time is not counted */
}

/* ---- what the wrapper needs mounted ---- */

/*
 * A mount that nobody sees: reachable through the descriptor alone.  init finds no proc mounted that it
 * would mount itself (the kernel says EBUSY to the second mount of the same file system on one place).
 *
 * Kernels since 5.2 make it without ever attaching it; an older one attaches it at dir and takes it off
 * again, and each taking off waits for all CPUs.
 */
static int private_mount(const char *type, const char *dir)
{
    int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), fd = -1;

    if (fs >= 0) {
        if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
            fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
        int e = errno;

        close(fs);
        errno = e;
        return fd;
    }
    if (errno != ENOSYS || mkdir(dir, 0700) < 0 || mount(type, dir, type, 0, NULL) < 0)
        return -1;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    umount2(dir, MNT_DETACH);
    return fd;
}

static bool worth_a_node(const char *name)
{
    static const char *const not_these[] = {"tty", "vcs", "ttyS", "loop"};

    for (size_t i = 0; i < sizeof(not_these) / sizeof(not_these[0]); i++) {
        size_t n = strlen(not_these[i]);

        if (strncmp(name, not_these[i], n) == 0 && strcmp(name, "tty") && strcmp(name, "ttyS0") &&
            strcmp(name, "loop-control"))
            return false;
    }
    return true;
}

/*
 * The root is the initramfs, where the kernel mounts nothing on /dev.  A devtmpfs left there would make
 * init's own `mount -t devtmpfs` fail with EBUSY, so the nodes are made as if the archive had held them:
 * /dev/null and /dev/vda are there for those that mount nothing, and whoever mounts may.
 */
static void make_nodes(const struct ag_boot *b)
{
    char path[PV_PATH_MAX];
    struct stat st;
    int fd = b->dev_fd < 0 ? -1 : openat(b->dev_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    mkdir("/dev", 0755);
    for (struct dirent *e; d && (e = readdir(d));)
        if ((e->d_type == DT_CHR || e->d_type == DT_BLK) && worth_a_node(e->d_name) &&
            fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            ag_format(path, sizeof(path), "/dev/%s", e->d_name))
            mknod(path, st.st_mode, st.st_rdev);
    if (d)
        closedir(d);
}

/* The kernel opens the console for us where the archive has one; init shall have it in any case. */
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

static void read_orders(struct ag_boot *b)
{
    static char text[AG_CONF_MAX];
    char why[256], cmdline[8192], debug[8];

    if (ag_read_text(AT_FDCWD, PV_BOOT_CONF, text, sizeof(text)) < 0)
        ag_fatal(b, "cannot read " PV_BOOT_CONF ": %s", strerror(errno));
    if (!ag_conf_parse(text, &b->conf, why, sizeof(why)))
        ag_fatal(b, PV_BOOT_CONF " %s", why);
    ag_format(b->init, sizeof(b->init), "/sbin/init");
    if (ag_read_text(b->proc_fd, "cmdline", cmdline, sizeof(cmdline)) < 0)
        return;
    b->debug = ag_cmdline_get(cmdline, "provium.debug", debug, sizeof(debug)) && debug[0] == '1';
    ag_cmdline_get(cmdline, "provium.init", b->init, sizeof(b->init));
}

/* ---- init ---- */

/* The interpreter that the kernel would want for the program in `head`, or "" when it wants none. */
static void interpreter(int fd, char *head, size_t n, char *dst, size_t cap)
{
    const Elf64_Ehdr *eh = (const void *)head;

    dst[0] = '\0';
    if (n > 2 && head[0] == '#' && head[1] == '!') {
        char *p = head + 2 + strspn(head + 2, " \t");

        p[strcspn(p, " \t\n")] = '\0';
        ag_format(dst, cap, "%s", p);
        return;
    }
    if (n < sizeof(*eh) || memcmp(head, ELFMAG, SELFMAG) != 0 || head[EI_CLASS] != ELFCLASS64 ||
        eh->e_phentsize != sizeof(Elf64_Phdr))
        return;
    for (unsigned i = 0; i < eh->e_phnum && i < 64; i++) {
        Elf64_Phdr ph;

        if (pread(fd, &ph, sizeof(ph), (off_t)(eh->e_phoff + i * sizeof(ph))) != sizeof(ph))
            return;
        if (ph.p_type != PT_INTERP || ph.p_filesz >= cap)
            continue;
        ssize_t r = pread(fd, dst, ph.p_filesz, (off_t)ph.p_offset);
        dst[r < 0 ? 0 : r] = '\0';
        return;
    }
}

/* NULL when `path` can be run, else why not; *e is the errno. */
static const char *cannot_run(const char *path, int *e, char *why, size_t cap)
{
    _Alignas(Elf64_Ehdr) char head[257] = "";
    char interp[PV_PATH_MAX];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *e = fd < 0 ? errno : 0;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        ssize_t n = pread(fd, head, sizeof(head) - 1, 0);

        interpreter(fd, head, n < 0 ? 0 : (size_t)n, interp, sizeof(interp));
        close(fd);
        if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111)) {
            *e = EACCES;
            ag_format(why, cap, "%s (%s, mode %04o)", strerror(EACCES),
                      S_ISREG(st.st_mode) ? "not executable" : "no regular file", st.st_mode & 07777);
            return why;
        }
        if (interp[0] && access(interp, X_OK) < 0) {
            *e = errno;
            ag_format(why, cap, "its interpreter '%s': %s", interp, strerror(*e));
            return why;
        }
        return NULL;
    }
    return *e ? strerror(*e) : NULL;
}

/*
 * Before the agent is forked: a guest without an init shall never have said READY.
 */
static void choose_init(struct ag_boot *b)
{
    char why[PV_PATH_MAX + 256];
    int e;
    const char *bad = cannot_run(b->init, &e, why, sizeof(why));

    if (!bad)
        return;
    if (e == ENOENT && b->conf.init_fallback && access(b->init, F_OK) < 0) {
        char why2[PV_PATH_MAX + 256];
        const char *bad2 = cannot_run(b->conf.init_fallback, &e, why2, sizeof(why2));

        if (bad2)
            ag_fatal(b, "cannot run init '%s': %s, nor '%s': %s", b->init, bad, b->conf.init_fallback, bad2);
        ag_format(b->init, sizeof(b->init), "%s", b->conf.init_fallback);
        return;
    }
    ag_fatal(b, "cannot run init '%s': %s", b->init, bad);
}

/* ---- the whole ---- */

static int listen_or_die(struct ag_boot *b)
{
    int fd = ag_listen();

    if (fd < 0)
        ag_fatal(b, "the agent cannot listen on vsock port %d: %s%s", PV_AGENT_PORT, strerror(errno),
                 b->trouble);
    return fd;
}

static void tidy(struct ag_boot *b)
{
    unlinkat(b->root_fd, &PV_GUEST_INIT_PATH[1], 0);
    ag_remove_tree(b->root_fd, &PV_BOOT_DIR[1]);
    if (b->conf.rootfs) { /* the initramfs is out of reach now: give its memory back */
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

void ag_wrapper_main(char **argv, char **envp)
{
    static struct ag_boot boot = {.sys_fd = -1, .dev_fd = -1, .files_fd = -1, .proc_fd = -1};
    struct ag_boot *b = &boot;

    umask(0);
    b->dev_fd = private_mount("devtmpfs", AG_DEV_DIR);
    open_stdio(b);
    b->proc_fd = private_mount("proc", AG_PROC_DIR);
    if (b->proc_fd < 0)
        ag_fatal(b, "cannot mount proc: %s", strerror(errno));
    b->root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    b->files_fd = open(PV_BOOT_FILES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    read_orders(b);
    debug_time(b, "start");
    for (size_t i = 0; i < b->conf.n_modules; i++)
        ag_module_load(b, b->conf.modules[i]);
    debug_time(b, "modules");
    int listen_fd = b->conf.serial ? -1 : listen_or_die(b);

    if (b->conf.serial)
        b->sys_fd = private_mount("sysfs", AG_SYS_DIR);
    if (b->conf.rootfs)
        ag_rootfs_switch(b);
    else
        make_nodes(b);
    debug_time(b, b->conf.rootfs ? "rootfs" : "nodes");
    ag_inject(b);
    debug_time(b, "files");
    choose_init(b);
    tidy(b);
    debug_time(b, "tidy");

    int port_fd = b->conf.serial ? ag_port_open(b, b->conf.serial) : -1;

    if (b->sys_fd >= 0)
        close(b->sys_fd);
    struct ag_serve s = {
        .listen_fd = listen_fd, .port_fd = port_fd, .proc_fd = b->proc_fd, .dev_fd = b->dev_fd};
    pid_t pid = fork();

    if (pid == 0)
        ag_serve_main(&s, argv);
    if (pid < 0)
        ag_fatal(b, "cannot start the agent: %s", strerror(errno));
    debug_time(b, "fork");
    umask(022);
    argv[0] = b->init;
    execve(b->init, argv, envp);
    ag_fatal(b, "cannot run init '%s': %s", b->init, strerror(errno));
}
