/* SPDX-License-Identifier: MIT */
/*
 * RESUME: sets the clock of a resumed machine, makes its random numbers differ from those of its copies, and gives it its
 * own host name.
 */
#include "agent/util.h"
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ENTROPY_MIN = 16, ENTROPY_MAX = 512, NAME_CAP = 64 };

/* The ioctl that failed, or NULL. */
static const char *credit_entropy(int fd, const void *data, size_t n)
{
    struct {
        int entropy_count, buf_size; /* struct rand_pool_info */
        uint8_t buf[ENTROPY_MAX];
    } info = {.entropy_count = (int)n * 8, .buf_size = (int)n};

    memcpy(info.buf, data, n);
    if (ioctl(fd, RNDADDENTROPY, &info) < 0)
        return "RNDADDENTROPY";
    /* Without it the kernel reseeds /dev/urandom and getrandom() some time later.  Exists since 4.17. */
    if (ioctl(fd, RNDRESEEDCRNG) < 0 && errno != ENOTTY && errno != EINVAL)
        return "RNDRESEEDCRNG";
    return NULL;
}

/* /dev/urandom; without a /dev, from the private devtmpfs or a node that is unlinked at once. */
static int open_random(int dev_fd)
{
    int fd =
        openat(dev_fd < 0 ? AT_FDCWD : dev_fd, dev_fd < 0 ? "/dev/urandom" : "urandom", O_RDWR | O_CLOEXEC);

    if (fd < 0 && mknod("/.provium-random", S_IFCHR | 0600, 1 << 8 | 9) == 0) {
        fd = open("/.provium-random", O_RDWR | O_CLOEXEC);
        unlink("/.provium-random");
    }
    return fd;
}

/* /etc/hostname agrees with the kernel, as the boot left it: nobody has set another host name. */
static bool hostname_is_of_boot(void)
{
    char now[NAME_CAP + 2] = "", file[NAME_CAP + 2] = "";
    int fd = open("/etc/hostname", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, file, sizeof(file) - 1);

    if (fd >= 0)
        close(fd);
    if (n <= 0 || file[n - 1] != '\n' || gethostname(now, sizeof(now) - 1) < 0)
        return false;
    file[n - 1] = '\0';
    return strcmp(now, file) == 0;
}

static bool resume_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint64_t ns = pv_dec_u64(d);
    size_t n;
    const void *entropy = pv_dec_bytes(d, &n);
    char name[NAME_CAP];
    struct timespec ts = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

    pv_dec_str(d, name, sizeof(name));
    if (!pv_dec_done(d) || n < ENTROPY_MIN || n > ENTROPY_MAX || ns > INT64_MAX)
        return false;
    if (!s->w.in_guest) {
        ag_reply_error(s, id, EPERM, "set the clock of a machine that is no guest");
        return true;
    }
    if (clock_settime(CLOCK_REALTIME, &ts) < 0) {
        ag_reply_error(s, id, errno, "set the clock");
        return true;
    }
    int fd = open_random(s->w.dev_fd);
    const char *failed = fd < 0 ? "open /dev/urandom" : credit_entropy(fd, entropy, n);

    if (failed)
        ag_reply_error(s, id, errno, "reseed the random pool: %s", failed);
    if (fd >= 0)
        close(fd);
    bool named = failed || !name[0] || !hostname_is_of_boot() || ag_set_hostname(name);

    if (!named)
        ag_reply_error(s, id, errno, "set the host name");
    clock_gettime(CLOCK_REALTIME, &ts);
    if (!failed && named)
        ag_reply_ok(s, id, (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
    return true;
}

const struct ag_verb ag_verb_resume = {.message = PV_MSG_RESUME, .start = resume_start};
