/* SPDX-License-Identifier: MIT */
/*
 * The surroundings of the built-in userland, whose init starts nothing: the file systems that every Linux
 * program expects, the loopback device and the host name.  A kernel without one of them still boots.
 */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "util.h"

static const struct {
    const char *type, *path, *options;
    mode_t mode; /* of the directory that is made */
    unsigned long flags;
    bool in_share; /* a shared root has it already */
} mounts[] = {
    {"proc", "/proc", NULL, 0555, MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"sysfs", "/sys", NULL, 0555, MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"devtmpfs", "/dev", "mode=0755", 0755, MS_NOSUID, true},
    {"devpts", "/dev/pts", "gid=5,mode=0620,ptmxmode=0666", 0755, MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/dev/shm", "mode=1777", 01777, MS_NOSUID | MS_NODEV},
    {"tmpfs", "/run", "mode=0755", 0755, MS_NOSUID | MS_NODEV},
    {"tmpfs", "/tmp", "mode=1777", 01777, 0, true},
};

static void make_links(void)
{
    static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                           {"/proc/self/fd/0", "/dev/stdin"},
                                           {"/proc/self/fd/1", "/dev/stdout"},
                                           {"/proc/self/fd/2", "/dev/stderr"}};

    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        (void)!symlink(links[i][0], links[i][1]);
}

/* The kernel gives the device its address when it comes up. */
static void loopback_up(const struct ag_boot *b)
{
    struct ifreq r = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return; /* a kernel without networks */
    if (ioctl(fd, SIOCGIFFLAGS, &r) == 0) {
        r.ifr_flags |= IFF_UP;
        if (ioctl(fd, SIOCSIFFLAGS, &r) < 0)
            ag_say(b, "cannot bring the loopback device up: %s", strerror(errno));
    }
    close(fd);
}

bool ag_userland_prepare(const struct ag_boot *b)
{
    bool has_dev = true;

    for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
        if (b->conf.share && mounts[i].in_share)
            continue;
        mkdir(mounts[i].path, mounts[i].mode);
        if (mount(mounts[i].type, mounts[i].path, mounts[i].type, mounts[i].flags, mounts[i].options) == 0)
            continue;
        if (errno != ENODEV)
            ag_say(b, "cannot mount %s on %s: %s", mounts[i].type, mounts[i].path, strerror(errno));
        has_dev &= strcmp(mounts[i].type, "devtmpfs") != 0;
    }
    if (has_dev)
        make_links();
    loopback_up(b);
    /* /etc/hostname of a writable share is the host's. */
    if (b->conf.share_writable ? sethostname(b->conf.userland, strlen(b->conf.userland)) < 0
                               : !ag_set_hostname(b->conf.userland))
        ag_say(b, "cannot set the host name '%s': %s", b->conf.userland, strerror(errno));
    return has_dev;
}
