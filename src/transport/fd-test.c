/* SPDX-License-Identifier: MIT */
/* Streams over socket pairs, loopback TCP and AF_VSOCK, and the devices of the kernel's vhost-vsock. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/loop.h"
#include "transport/channel.h"
#include "transport/stream.h"
#include "util/clock.h"
#include "util/err.h"

struct end {
    struct pv_stream *s;
    unsigned events;
    bool close_in_event;
};

static struct pv_loop *loop;
static char big[1 << 20];

static void on_event(struct pv_stream *s, void *arg)
{
    struct end *e = arg;

    e->events++;
    if (e->close_in_event) {
        pv_stream_close(s);
        e->s = NULL;
    }
}

static void end_take_fd(struct end *e, int fd, bool connecting)
{
    struct pv_err err = PV_ERR_INIT;

    memset(e, 0, sizeof(*e));
    e->s = pv_stream_take_fd(loop, fd, connecting, &err);
    assert_non_null(e->s);
    e->s->on_event = on_event;
    e->s->arg = e;
}

static int end_pair(struct end *e)
{
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
    end_take_fd(e, sv[0], false);
    return sv[1];
}

static bool has_event(void *arg)
{
    return ((struct end *)arg)->events > 0;
}

static void wait_event(struct end *e)
{
    assert_int_equal(pv_loop_run(loop, has_event, e, pv_deadline(5 * PV_NSEC_PER_SEC), NULL), 0);
    e->events = 0;
}

/* Runs the loop for a few milliseconds. */
static void run_briefly(void)
{
    assert_int_equal(pv_loop_run(loop, NULL, NULL, pv_deadline(5 * PV_NSEC_PER_MSEC), NULL), 1);
}

static void reads_and_writes(void **state)
{
    struct end e;
    char in[16];
    int peer = end_pair(&e);

    (void)state;
    assert_int_equal(pv_stream_read(e.s, in, sizeof(in)), -EAGAIN);
    assert_int_equal(write(peer, "hello", 5), 5);
    wait_event(&e);
    assert_int_equal(pv_stream_read(e.s, in, 2), 2);
    assert_int_equal(pv_stream_read(e.s, in, sizeof(in)), 3);
    assert_int_equal(pv_stream_read(e.s, in, sizeof(in)), -EAGAIN);
    assert_int_equal(pv_stream_write(e.s, "there", 5), 5);
    assert_int_equal(read(peer, in, sizeof(in)), 5);
    /* EOF is reported at most once. */
    shutdown(peer, SHUT_WR);
    wait_event(&e);
    assert_int_equal(pv_stream_read(e.s, in, sizeof(in)), 0);
    run_briefly();
    assert_in_range(e.events, 0, 1);
    assert_int_equal(pv_stream_write(e.s, "still", 5), 5);
    pv_stream_shutdown_write(e.s);
    assert_int_equal(pv_stream_write(e.s, "x", 1), -EPIPE);
    assert_int_equal(read(peer, in, sizeof(in)), 5);
    assert_int_equal(read(peer, in, sizeof(in)), 0);
    pv_stream_close(e.s);
    close(peer);
}

static void tells_of_room(void **state)
{
    struct end e;
    int peer = end_pair(&e);
    size_t sent = 0, got = 0;
    ssize_t r;

    (void)state;
    while ((r = pv_stream_write(e.s, big, sizeof(big))) > 0)
        sent += (size_t)r;
    assert_int_equal(r, -EAGAIN);
    run_briefly();
    e.events = 0;
    pv_stream_want_write(e.s, true);
    run_briefly();
    assert_int_equal(e.events, 0);
    while ((r = read(peer, big, sizeof(big))) > 0)
        got += (size_t)r;
    assert_int_equal(got, sent);
    wait_event(&e);
    assert_int_equal(pv_stream_write(e.s, "x", 1), 1);
    /* A request for room while there is room already is reported too. */
    pv_stream_want_write(e.s, false);
    run_briefly();
    e.events = 0;
    run_briefly();
    assert_int_equal(e.events, 0);
    pv_stream_want_write(e.s, true);
    wait_event(&e);
    pv_stream_close(e.s);
    close(peer);
}

static void peer_vanishes(void **state)
{
    struct end e;
    char in[16];
    int peer = end_pair(&e);

    (void)state;
    assert_int_equal(pv_stream_write(e.s, "unread", 6), 6);
    close(peer);
    wait_event(&e);
    assert_int_equal(pv_stream_read(e.s, in, sizeof(in)), -ECONNRESET);
    assert_int_equal(e.s->error, ECONNRESET);
    assert_int_equal(pv_stream_write(e.s, "x", 1), -ECONNRESET);
    run_briefly();
    assert_in_range(e.events, 0, 1);
    pv_stream_close(e.s);
    peer = end_pair(&e);
    e.close_in_event = true;
    close(peer);
    wait_event(&e);
    assert_null(e.s);
}

static int tcp_socket(struct sockaddr_in *addr)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return fd;
}

static void tcp_connects(void **state)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof(addr);
    int server = tcp_socket(&addr), client, r;
    struct end e;

    (void)state;
    if (server < 0 || bind(server, (struct sockaddr *)&addr, len) < 0) {
        print_message("skipped: no loopback network here\n");
        skip();
    }
    assert_int_equal(getsockname(server, (struct sockaddr *)&addr, &len), 0);
    for (int listening = 1; listening >= 0; listening--) {
        struct sockaddr_in ignored;

        if (listening)
            assert_int_equal(listen(server, 5), 0);
        else
            close(server);
        client = tcp_socket(&ignored);
        r = connect(client, (struct sockaddr *)&addr, sizeof(addr));
        if (r < 0 && errno != EINPROGRESS) {
            assert_int_equal(errno, ECONNREFUSED);
            close(client);
            continue;
        }
        end_take_fd(&e, client, true);
        assert_true(e.s->connecting);
        assert_int_equal(pv_stream_write(e.s, "x", 1), -EAGAIN);
        wait_event(&e);
        assert_false(e.s->connecting);
        assert_int_equal(e.s->error, listening ? 0 : ECONNREFUSED);
        assert_int_equal(pv_stream_write(e.s, "x", 1), listening ? 1 : -ECONNREFUSED);
        pv_stream_close(e.s);
    }
}

/* SO_ERROR of each socket, which getsockopt() then calls AF_VSOCK's; 0: the socket's own. */
static int so_error;

/* In libc's place, whose header has reserved names. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    const int domain = AF_VSOCK;

    if (!so_error || level != SOL_SOCKET || (name != SO_ERROR && name != SO_DOMAIN))
        return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
    memcpy(value, name == SO_ERROR ? &so_error : &domain, sizeof(int));
    return 0;
}

/* ECONNRESET is what AF_VSOCK says of a guest in which nobody listens; also on a host without a device. */
static void vsock_reset_is_a_refusal(void **state)
{
    struct end e;
    int sv[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
    so_error = ECONNRESET;
    end_take_fd(&e, sv[0], true);
    wait_event(&e);
    so_error = 0;
    assert_false(e.s->connecting);
    assert_int_equal(e.s->error, ECONNREFUSED);
    pv_stream_close(e.s);
    close(sv[1]);
}

static void bad_descriptor(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_null(pv_stream_take_fd(loop, fd, false, &err)); /* epoll refuses a regular file */
    assert_int_equal(err.cls, PV_E_HOST);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed nevertheless */
}

static int vsock_socket(void)
{
    return socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Starts a connection to a port that has no listener: true when something is there that can refuse it. */
static bool vsock_connect(int fd, unsigned cid)
{
    struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = 0x7ffffffe};

    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EINPROGRESS;
}

/* By the loopback, or by the host if this machine is a guest. */
static void vsock_refuses(void **state)
{
    static const unsigned cids[] = {VMADDR_CID_LOCAL, VMADDR_CID_HOST};
    bool refused = false;

    (void)state;
    for (size_t i = 0; i < 2 && !refused; i++) {
        int fd = vsock_socket();
        struct end e;

        if (!vsock_connect(fd, cids[i])) {
            close(fd);
            continue;
        }
        end_take_fd(&e, fd, true);
        wait_event(&e);
        assert_false(e.s->connecting);
        refused = e.s->error != ETIMEDOUT;
        if (refused)
            assert_int_equal(e.s->error, ECONNREFUSED);
        pv_stream_close(e.s);
    }
    if (!refused) {
        print_message("nothing is here that refuses a connection over AF_VSOCK\n");
        skip();
    }
}

/* Two devices of a usable /dev/vhost-vsock have two CIDs; the error of an unusable one has a reason. */
static void kernel_vsock(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    const char *why = NULL;
    bool usable = pv_vsock_kernel_usable(&why);
    struct pv_channel *a = pv_vsock_kernel_new(loop, &err), *b;

    (void)state;
    if (!usable) {
        assert_null(a);
        assert_non_null(why);
        assert_int_equal(err.cls, PV_E_MISSING);
        assert_int_equal(strncmp(err.text, why, strlen(why)), 0);
        print_message("not usable here: %s\n", err.text);
        return;
    }
    assert_non_null(a);
    b = pv_vsock_kernel_new(loop, &err);
    assert_non_null(b);
    assert_int_not_equal(a->cid, b->cid);
    assert_true(a->qemu_fd >= 0 && a->cid >= 3);
    a->ops->free(a);
    b->ops->free(b);
}

/* Longer than the 2 s after which AF_VSOCK gives up by itself. */
static void kernel_vsock_waits(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_channel *c = pv_vsock_kernel_new(loop, &err);
    struct pv_stream *s;

    (void)state;
    if (!c) {
        print_message("not usable here: %s\n", err.text);
        skip();
    }
    s = c->ops->connect(c, 5123, &err);
    assert_non_null(s);
    assert_int_equal(pv_loop_run(loop, NULL, NULL, pv_deadline(3 * PV_NSEC_PER_SEC), NULL), 1);
    assert_true(s->connecting);
    pv_stream_close(s);
    c->ops->free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(tells_of_room),
        cmocka_unit_test(peer_vanishes),
        cmocka_unit_test(tcp_connects),
        cmocka_unit_test(bad_descriptor),
        cmocka_unit_test(kernel_vsock),
        cmocka_unit_test(vsock_reset_is_a_refusal),
        cmocka_unit_test(vsock_refuses),
        cmocka_unit_test(kernel_vsock_waits),
    };
    int r;

    loop = pv_loop_new(NULL);
    r = cmocka_run_group_tests(tests, NULL, NULL);
    pv_loop_free(loop);
    return r;
}
