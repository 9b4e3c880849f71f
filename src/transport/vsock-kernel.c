/* SPDX-License-Identifier: MIT */
/*
 * The kernel's vhost-vsock.  A CID belongs to the open /dev/vhost-vsock that set it, on the whole host, so a
 * free one is found by trying; QEMU then inherits that descriptor (vhostfd=).  Connections are ordinary
 * AF_VSOCK sockets of the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/vm_sockets.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "loop/loop.h"
#include "transport/channel.h"
#include "transport/stream.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

#define DEVICE "/dev/vhost-vsock"

enum { FIRST_CID = 3, TRIES = 64 };

struct kernel_vsock {
    struct pv_channel c;
    struct pv_loop *loop;
};

static uint64_t random_cid(void)
{
    uint32_t n;

    if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != (ssize_t)sizeof(n))
        n = (uint32_t)pv_now() * UINT32_C(2654435761) ^ (uint32_t)getpid();
    /* Up to 2^31: tools that keep a CID in an int go on working. */
    return FIRST_CID + n % (UINT32_C(0x7fffffff) - FIRST_CID);
}

/* Sets a free CID on the open device: 0 and *cid, or an errno. */
static int set_free_cid(int fd, unsigned *cid)
{
    for (int i = 0; i < TRIES; i++) {
        uint64_t c = random_cid();

        if (ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &c) == 0) {
            *cid = (unsigned)c;
            return 0;
        }
        if (errno != EADDRINUSE && errno != EINTR)
            return errno;
    }
    return EADDRINUSE;
}

/* The step at which the device failed; its errno picks the reason, as text that says what to do. */
enum step { STEP_OPEN, STEP_SOCKET, STEP_CID };

static const struct {
    enum step step;
    int error; /* 0: any other */
    const char *why;
} reasons[] = {
    {STEP_OPEN, ENOENT, DEVICE " does not exist here: the kernel module vhost_vsock is not loaded"},
    {STEP_OPEN, ENODEV, DEVICE " has no driver: the kernel module vhost_vsock is not loaded"},
    {STEP_OPEN, ENXIO, DEVICE " has no driver: the kernel module vhost_vsock is not loaded"},
    {STEP_OPEN, EACCES, "no permission for " DEVICE ": add yourself to the group kvm"},
    {STEP_OPEN, EPERM, DEVICE " is forbidden to this process, as in a container without --device " DEVICE},
    {STEP_OPEN, EMFILE, "no file can be opened: this process may have no more (ulimit -n)"},
    {STEP_OPEN, ENFILE, "no file can be opened: the host has no more (sysctl fs.file-max)"},
    {STEP_OPEN, 0, DEVICE " cannot be opened"},
    {STEP_SOCKET, EAFNOSUPPORT,
     "there are no AF_VSOCK sockets here: the kernel module vsock is not loaded, or the service that runs "
     "this forbids them (RestrictAddressFamilies=)"},
    {STEP_SOCKET, EACCES, "AF_VSOCK sockets are forbidden to this process, by seccomp or a security module"},
    {STEP_SOCKET, EPERM, "AF_VSOCK sockets are forbidden to this process, by seccomp or a security module"},
    {STEP_SOCKET, EMFILE, "no file can be opened: this process may have no more (ulimit -n)"},
    {STEP_SOCKET, ENFILE, "no file can be opened: the host has no more (sysctl fs.file-max)"},
    {STEP_SOCKET, 0, "AF_VSOCK sockets cannot be made"},
    {STEP_CID, EADDRINUSE, "no vsock address (CID) is free on this host"},
    {STEP_CID, EPERM, DEVICE " may be opened but not used by this process (seccomp)"},
    {STEP_CID, EACCES, DEVICE " may be opened but not used by this process (a security module)"},
    {STEP_CID, 0, DEVICE " takes no vsock address (CID)"},
};

static const char *step_reason(enum step step, int error)
{
    for (size_t i = 0;; i++)
        if (reasons[i].step == step && (reasons[i].error == error || !reasons[i].error))
            return reasons[i].why;
}

/* The device with a CID set, or -1, *why (static text) and errno. */
static int open_device(unsigned *cid, const char **why)
{
    enum step step = STEP_OPEN;
    cleanup_close int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    cleanup_close int sock = -1;
    int error = fd < 0 ? errno : 0;

    if (!error) {
        step = STEP_SOCKET;
        sock = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
        error = sock < 0 ? errno : 0;
    }
    if (!error) {
        step = STEP_CID;
        error = set_free_cid(fd, cid);
    }
    if (!error)
        return pv_steal_fd(&fd);
    *why = step_reason(step, error);
    errno = error;
    return -1;
}

/* A connection that failed at once, to be told from the loop like any other: a socket that hung up. */
static struct pv_stream *failed_stream(struct pv_loop *loop, int error, struct pv_err *err)
{
    struct pv_stream *s;
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) < 0) {
        pv_err_sys(err, errno, "cannot make a socket");
        return NULL;
    }
    close(sv[1]);
    s = pv_stream_take_fd(loop, sv[0], false, err);
    if (s)
        s->error = error;
    return s;
}

/*
 * The kernel would give up after 2 s.  It keeps a socket that is closed meanwhile until the limit is over: longer
 * than a spawn may take, no more.
 */
static void connect_for_long(int fd)
{
    const struct timeval limit = {.tv_sec = 60};

    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit));
}

static struct pv_stream *kernel_connect(struct pv_channel *c, unsigned port, struct pv_err *err)
{
    struct kernel_vsock *k = PV_CONTAINER_OF(c, struct kernel_vsock, c);
    struct sockaddr_vm addr = {.svm_family = AF_VSOCK, .svm_cid = c->cid, .svm_port = port};
    cleanup_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        pv_err_sys(err, errno, "cannot make an AF_VSOCK socket");
        return NULL;
    }
    connect_for_long(fd);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return pv_stream_take_fd(k->loop, pv_steal_fd(&fd), false, err);
    switch (errno) {
    case EINPROGRESS:
        return pv_stream_take_fd(k->loop, pv_steal_fd(&fd), true, err);
    case ECONNREFUSED:
    case ECONNRESET:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENODEV: /* QEMU does not hold the CID any more */
        return failed_stream(k->loop, errno == ENODEV ? ECONNRESET : errno, err);
    default:
        pv_err_sys(err, errno, "cannot connect to vsock port %u of CID %u", port, c->cid);
        return NULL;
    }
}

/* The kernel does not say; it keeps a REQUEST until the driver is there. */
static bool kernel_ready(struct pv_channel *c)
{
    (void)c;
    return true;
}

static const char *kernel_describe(struct pv_channel *c)
{
    (void)c;
    return "nothing in the guest answers: its vsock driver is not up, or nothing listens";
}

static void kernel_free(struct pv_channel *c)
{
    pv_close(&c->qemu_fd);
    free(PV_CONTAINER_OF(c, struct kernel_vsock, c));
}

struct pv_channel *pv_vsock_kernel_new(struct pv_loop *loop, struct pv_err *err)
{
    static const struct pv_channel_ops ops = {
        .connect = kernel_connect,
        .ready = kernel_ready,
        .describe = kernel_describe,
        .free = kernel_free,
    };
    struct kernel_vsock *k;
    unsigned cid = 0;
    const char *why = NULL;
    int fd = open_device(&cid, &why);

    if (fd < 0) {
        pv_err_set_at(err, PV_E_MISSING, errno, __FILE__, __LINE__, "%s", why);
        return NULL;
    }
    k = pv_xcalloc(1, sizeof(*k));
    k->c = (struct pv_channel){.ops = &ops, .cid = cid, .qemu_fd = fd, .kind = PV_CHANNEL_VHOST_VSOCK};
    k->loop = loop;
    return &k->c;
}

bool pv_vsock_kernel_usable(const char **why)
{
    unsigned cid = 0;
    int fd = open_device(&cid, why);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}
