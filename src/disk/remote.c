/* SPDX-License-Identifier: MIT */
/* The NBD client of a qemu-storage-daemon: one request at a time. */
#include "disk/remote.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk/disk.h"
#include "disk/layer.h"
#include "disk/nbd.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/sock.h"
#include "util/spawn.h"

enum { SERVER_FD = 9, WORDS_MAX = 2000 };

struct pv_remote {
    int fd;
    pid_t pid;
    int pidfd;
    uint64_t size;
    uint64_t cookie;
    bool write;
    bool broken;
};

/* Waits until the socket is ready; -1 with errno at the deadline, or when the daemon has ended. */
static int remote_wait(const struct pv_remote *r, short events, int64_t deadline)
{
    struct pollfd p[2] = {{.fd = r->fd, .events = events}, {.fd = r->pidfd, .events = POLLIN}};
    int64_t ms = (deadline - pv_now()) / PV_NSEC_PER_MSEC;
    int n = poll(p, 2, ms > 0 ? (int)ms : 0);

    if (n < 0 && errno == EINTR)
        return 0;
    if (n > 0 && p[0].revents)
        return 0;
    errno = n == 0 ? ETIMEDOUT : EIO;
    return -1;
}

static int remote_send(const struct pv_remote *r, const void *data, size_t n, int64_t deadline)
{
    const char *p = data;

    while (n) {
        ssize_t sent = send(r->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent > 0) {
            p += sent, n -= (size_t)sent;
        } else if ((errno != EAGAIN && errno != EINTR) || remote_wait(r, POLLOUT, deadline) < 0) {
            return -1;
        }
    }
    return 0;
}

static int remote_receive(const struct pv_remote *r, void *data, size_t n, int64_t deadline)
{
    char *p = data;

    while (n) {
        ssize_t got = recv(r->fd, p, n, MSG_DONTWAIT);

        if (got > 0) {
            p += got, n -= (size_t)got;
        } else if (got == 0) {
            errno = EIO;
            return -1;
        } else if ((errno != EAGAIN && errno != EINTR) || remote_wait(r, POLLIN, deadline) < 0) {
            return -1;
        }
    }
    return 0;
}

/* One request and its reply; at most PV_DISK_MAX_TRANSFER bytes of data. */
static int remote_do(struct pv_remote *r, unsigned command, uint64_t at, uint32_t n, const void *out,
                     void *in)
{
    struct pv_nbd_header h = {
        htobe32(PV_NBD_REQUEST_MAGIC), 0, htobe16((uint16_t)command), ++r->cookie, htobe64(at), htobe32(n)};
    int64_t deadline = pv_deadline(PV_REMOTE_SECONDS * PV_NSEC_PER_SEC);
    struct pv_nbd_reply reply;

    errno = EIO;
    if (r->broken)
        return -1;
    r->broken = true; /* until the whole reply is there */
    if (remote_send(r, &h, sizeof(h), deadline) < 0 || (out && remote_send(r, out, n, deadline) < 0) ||
        remote_receive(r, &reply, sizeof(reply), deadline) < 0)
        return -1;
    errno = EPROTO;
    if (be32toh(reply.magic) != PV_NBD_SIMPLE_MAGIC || reply.cookie != h.cookie)
        return -1;
    if (!reply.error && in && remote_receive(r, in, n, deadline) < 0)
        return -1;
    r->broken = false;
    errno = be32toh(reply.error) == ENOSPC ? ENOSPC : EIO;
    return reply.error ? -1 : 0;
}

static uint32_t part_of(uint64_t n)
{
    return n < PV_DISK_MAX_TRANSFER ? (uint32_t)n : PV_DISK_MAX_TRANSFER;
}

int pv_remote_read(struct pv_remote *r, uint64_t at, void *to, size_t n)
{
    for (uint32_t part; n; at += part, to = (char *)to + part, n -= part) {
        part = part_of(n);
        if (remote_do(r, PV_NBD_READ, at, part, NULL, to) < 0)
            return -1;
    }
    return 0;
}

int pv_remote_write(struct pv_remote *r, uint64_t at, const void *data, size_t n)
{
    for (uint32_t part; n; at += part, data = (const char *)data + part, n -= part) {
        part = part_of(n);
        if (remote_do(r, PV_NBD_WRITE, at, part, data, NULL) < 0)
            return -1;
    }
    return 0;
}

int pv_remote_zero(struct pv_remote *r, uint64_t at, uint64_t n)
{
    for (uint32_t part; n; at += part, n -= part) {
        part = part_of(n);
        if (remote_do(r, PV_NBD_WRITE_ZEROES, at, part, NULL, NULL) < 0)
            return -1;
    }
    return 0;
}

int pv_remote_flush(struct pv_remote *r)
{
    return r->write ? remote_do(r, PV_NBD_FLUSH, 0, 0, NULL, NULL) : 0;
}

uint64_t pv_remote_size(const struct pv_remote *r)
{
    return r->size;
}

void pv_remote_close(struct pv_remote *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        pv_remote_flush(r);
    pv_close(&r->fd);
    if (r->pid > 0) {
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
    }
    pv_close(&r->pidfd);
    free(r);
}

/* ---- opening ---- */

/* The path as a value of QEMU's options: commas doubled. */
static char *quote_path(const char *path)
{
    struct pv_buf b = {0};

    for (; *path; path++)
        pv_buf_adds(&b, *path == ',' ? ",," : (char[]){*path, 0});
    return b.data;
}

static pid_t start_daemon(struct pv_remote *r, const char *path, const char *format, int listener, int words,
                          struct pv_err *err)
{
    cleanup_strv struct pv_strv argv = {0};
    cleanup_free char *quoted = quote_path(path);
    struct pv_spawn_fd fds[] = {{words, 2}, {listener, SERVER_FD}};

    pv_strv_add(&argv, "qemu-storage-daemon");
    pv_strv_add(&argv, "--blockdev");
    pv_strv_addf(&argv, "driver=%s,node-name=d,read-only=%s,discard=unmap,file.driver=file,file.filename=%s",
                 format, r->write ? "off" : "on", quoted);
    pv_strv_add(&argv, "--nbd-server");
    pv_strv_addf(&argv, "addr.type=fd,addr.str=%d,max-connections=1", SERVER_FD);
    pv_strv_add(&argv, "--export");
    pv_strv_addf(&argv, "type=nbd,id=e,node-name=d,name=d,writable=%s", r->write ? "on" : "off");
    r->pid = pv_spawn(
        &(struct pv_spawn){.file = argv.v[0], .argv = argv.v, .fds = fds, .n_fds = 2, .no_core = true},
        &r->pidfd, err);
    return r->pid;
}

/* Greeting, flags, EXPORT_NAME, size. */
static int remote_hello(struct pv_remote *r)
{
    int64_t deadline = pv_deadline(PV_REMOTE_SECONDS * PV_NSEC_PER_SEC);
    uint32_t flags = htobe32(PV_NBD_FIXED_NEWSTYLE | PV_NBD_NO_ZEROES);
    struct pv_nbd_option o = {htobe64(PV_NBD_OPTION_MAGIC), htobe32(PV_NBD_OPT_EXPORT_NAME), htobe32(1)};
    struct pv_nbd_greeting g;
    struct pv_nbd_export e;

    if (remote_receive(r, &g, sizeof(g), deadline) < 0 ||
        remote_send(r, &flags, sizeof(flags), deadline) < 0 || remote_send(r, &o, sizeof(o), deadline) < 0 ||
        remote_send(r, "d", 1, deadline) < 0 ||
        remote_receive(r, &e, offsetof(struct pv_nbd_export, zeroes), deadline) < 0)
        return -1;
    errno = EPROTO;
    r->size = be64toh(e.size);
    return be64toh(g.magic) == PV_NBD_MAGIC && r->size <= PV_DISK_SIZE_MAX ? 0 : -1;
}

struct pv_remote *pv_remote_open(const char *dir, const char *path, const char *format, bool write,
                                 struct pv_err *err)
{
    struct pv_remote *r = pv_xcalloc(1, sizeof(*r));
    cleanup_close int listener = -1, words = pv_disk_tmpfile(dir, err);
    char text[WORDS_MAX + 1];
    ssize_t n;

    r->fd = r->pidfd = -1;
    r->write = write;
    if (words < 0)
        goto fail;
    if (pv_sock_listen_private(dir, &listener, &r->fd) < 0) {
        pv_err_sys(err, errno, "cannot make a socket in %s", dir);
        goto fail;
    }
    if (start_daemon(r, path, format, listener, words, err) < 0)
        goto fail;
    pv_close(&listener);
    if (remote_hello(r) == 0)
        return r;
    n = pv_pread_all(words, text, WORDS_MAX, 0);
    text[n > 0 ? n : 0] = 0;
    pv_err_set(err, PV_E_USAGE, "qemu-storage-daemon cannot open %s as %s: %s", path, format,
               n > 0 ? text : strerror(errno));
    r->broken = true;
fail:
    pv_remote_close(r);
    return NULL;
}
