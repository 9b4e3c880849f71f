/* SPDX-License-Identifier: MIT */
#include "switch-root.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "boot.h"
#include "console.h"
#include "util.h"

#define WHERE " into the root that the initrd switched to"

/* ---- guest init ---- */

/*
 * Whether the initrd will switch for certain: it is told a root, or says what it is as systemd's specification of
 * initrds has it (dracut, mkinitcpio, mkosi).
 */
static bool switches_for_certain(const struct ag_boot *b)
{
    char cmdline[8192], root[256];

    if (strcmp(b->conf.switch_root, "auto") != 0)
        return strcmp(b->conf.switch_root, "yes") == 0;
    return access("/etc/initrd-release", F_OK) == 0 ||
           (ag_read_text(b->proc_fd, "cmdline", cmdline, sizeof(cmdline)) >= 0 &&
            ag_cmdline_get(cmdline, "root", root, sizeof(root)));
}

/* A copy, because the initrd may delete or change what is in its own root. */
static int keep_files(const struct ag_boot *b)
{
    int fd = ag_private_mount("tmpfs", AG_KEEP_DIR);

    if (fd < 0 && (errno == ENODEV || errno == EINVAL))
        fd = ag_private_mount("ramfs", AG_KEEP_DIR); /* every kernel has it */
    if (fd < 0 || fchdir(fd) < 0)
        ag_fatal(b, "cannot keep the injected files for the root that the initrd switches to: %s",
                 strerror(errno));
    ag_inject_copy(b, b->files_fd, ".", ": no copy for the root that the initrd switches to");
    if (chdir("/") < 0)
        ag_fatal(b, "cannot change to the root: %s", strerror(errno));
    return fd;
}

void ag_switch_prepare(struct ag_boot *b)
{
    static struct ag_switch s;
    int done[2], ask[2], start[2];
    struct stat st;

    if (!b->conf.switch_root || !strcmp(b->conf.switch_root, "no"))
        return;
    s.hold = switches_for_certain(b);
    if (b->files_fd < 0 && !s.hold)
        return;
    s.done = mmap(NULL, sizeof(*s.done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s.done == MAP_FAILED || stat("/", &st) < 0 || pipe2(done, O_CLOEXEC) < 0 ||
        pipe2(ask, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(start, O_CLOEXEC) < 0)
        ag_fatal(b, "cannot prepare for the initrd's switch of the root: %s", strerror(errno));
    s.root_dev = st.st_dev;
    s.root_ino = st.st_ino;
    s.done_fd = done[0];
    s.tracer_done_fd = done[1];
    s.ask_fd = ask[1];
    s.tracer_ask_fd = ask[0];
    s.start_fd = start[0];
    s.tracer_start_fd = start[1];
    s.keep_fd = b->files_fd < 0 ? -1 : keep_files(b);
    b->root_switch = &s;
}

void ag_switch_start(struct ag_boot *b)
{
    struct ag_switch *s = b->root_switch;
    pid_t pid;

    if (!s)
        return;
    close(s->start_fd);
    pid = fork();
    if (pid == 0) {
        close(s->done_fd);
        close(s->ask_fd);
        ag_tracer_main(b);
    }
    if (pid < 0)
        ag_fatal(b, "cannot start the process that follows the initrd's switch of the root: %s",
                 strerror(errno));
    close(s->tracer_done_fd);
    close(s->tracer_ask_fd);
    close(s->tracer_start_fd);
    ag_close(&s->keep_fd);
}

void ag_switch_started(struct ag_boot *b)
{
    struct ag_switch *s = b->root_switch;
    ssize_t n;
    char byte;

    if (!s)
        return;
    close(s->tracer_start_fd);
    while ((n = read(s->start_fd, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (n != 1)
        ag_fatal(b, "the process that follows the initrd's switch of the root has ended");
}

/* ---- the tracer ---- */

static bool is_readonly(void)
{
    struct statvfs v;

    return statvfs("/", &v) == 0 && v.f_flag & ST_RDONLY;
}

/* The mount's flags for a remount, without MS_RDONLY. */
static unsigned long mount_flags(void)
{
    static const struct {
        unsigned long st, ms;
    } flags[] = {{ST_NOSUID, MS_NOSUID},   {ST_NODEV, MS_NODEV},           {ST_NOEXEC, MS_NOEXEC},
                 {ST_NOATIME, MS_NOATIME}, {ST_NODIRATIME, MS_NODIRATIME}, {ST_RELATIME, MS_RELATIME}};
    struct statvfs v = {0};
    unsigned long ms = 0;

    statvfs("/", &v);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (v.f_flag & flags[i].st)
            ms |= flags[i].ms;
    return ms;
}

/* The flags that make it read-only again; 0: it was writable.  The mount alone may be read-only, or the file system. */
static unsigned long make_writable(const struct ag_boot *b, const char *first)
{
    unsigned long flags = MS_REMOUNT | mount_flags();
    int e = 0;

    if (!is_readonly())
        return 0;
    if (mount(NULL, "/", NULL, flags | MS_BIND, NULL) == 0 && !is_readonly())
        return flags | MS_BIND | MS_RDONLY;
    if (mount(NULL, "/", NULL, flags, NULL) == 0 && !is_readonly())
        return flags | MS_RDONLY;
    e = errno;
    ag_fatal(
        b,
        "cannot inject '%s'" WHERE
        ": it is read-only and cannot be made writable (%s): give it a disk that can "
        "be written to, such as one with snapshot = true, or boot without injected files; the profile's key "
        "switch_root = false leaves them in the initrd alone",
        first, e ? strerror(e) : "the file system does not take writes");
}

/* The first injected file of the records. */
static const char *first_file(const struct ag_boot *b)
{
    static const char files[] = PV_BOOT_FILES "/";

    for (const char *p = b->sums; p && p + PV_SUMS_PATH < b->sums + b->sums_n;
         p += PV_SUMS_PATH + strlen(p + PV_SUMS_PATH) + 1)
        if (*p != PV_SUMS_DIR && strncmp(p + PV_SUMS_PATH, files, sizeof(files) - 1) == 0)
            return p + PV_SUMS_PATH + sizeof(files) - 2;
    return "/";
}

void ag_switch_enter(const struct ag_boot *b)
{
    int fd = openat(b->proc_fd, "1/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fchdir(fd) < 0 || chroot(".") < 0)
        ag_fatal(b, "cannot change" WHERE ": %s", strerror(errno));
    close(fd);
}

unsigned long ag_switch_fill(const struct ag_boot *b)
{
    unsigned long was;

    if (b->root_switch->keep_fd < 0)
        return 0;
    was = make_writable(b, first_file(b));
    ag_inject_copy(b, b->root_switch->keep_fd, "", WHERE);
    ag_check_placed(b, WHERE);
    return was;
}

void ag_switch_restore(const struct ag_boot *b, unsigned long was)
{
    if (was && mount(NULL, "/", NULL, was, NULL) < 0)
        ag_say(b, "the root that the initrd switched to stays writable after files were injected: %s",
               strerror(errno));
}
