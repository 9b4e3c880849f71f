/* SPDX-License-Identifier: MIT */
/* Offers between a session and the multiplexer, well-formed and malformed. */
#include "util/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/offer.h"
#include "agent/process-table.h"

enum { FDS_MAX = 8 };

struct fix {
    int ctl[2]; /* of the multiplexer, of a session */
};

static int set_up(void **state)
{
    static struct fix x;

    *state = &x;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, x.ctl);
}

static int tear_down(void **state)
{
    const struct fix *x = *state;

    close(x->ctl[0]);
    close(x->ctl[1]);
    return 0;
}

static unsigned fds_count(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Sends len bytes of data with n copies of one descriptor. */
static void offer_write(const struct fix *x, const void *data, size_t len, unsigned n)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    assert_true(n <= FDS_MAX);
    if (n) {
        struct cmsghdr *c;

        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        for (unsigned i = 0; i < n; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &x->ctl[1], sizeof(int));
    }
    assert_int_equal(sendmsg(x->ctl[1], &m, 0), len);
}

static void test_offer_arrives(void **state)
{
    const struct fix *x = *state;
    struct ag_process_table *table = calloc(1, sizeof(*table));
    struct ag_world w = {.ctl_fd = x->ctl[1], .table = table};
    uint32_t sent = 0, port = 0;
    int mine, fd = -1;

    assert_false(ag_offer_receive(x->ctl[0], &fd, &port));
    mine = ag_offer_send(&w, &sent);
    assert_true(mine >= 0);
    assert_true(ag_offer_receive(x->ctl[0], &fd, &port));
    assert_int_equal(port, sent);
    assert_int_equal(send(mine, "x", 1, 0), 1);
    assert_int_equal(recv(fd, &(char){0}, 1, 0), 1);
    close(mine);
    close(fd);
    free(table);
}

/* No descriptor of a malformed offer stays open. */
static void test_malformed_leaks_nothing(void **state)
{
    const uint32_t port = 7, none = 0, two[2] = {7, 8};
    const struct {
        const void *data;
        size_t len;
        unsigned fds;
    } bad[] = {{&port, sizeof(port), 0}, {&port, sizeof(port), 2},
               {&port, sizeof(port), 4}, {&port, sizeof(port), 8},
               {&none, sizeof(none), 1}, {&port, 1, 1},
               {two, sizeof(two), 1},    {two, 0, 2}};
    const struct fix *x = *state;
    unsigned before = fds_count();

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint32_t got;
        int fd = 99;

        offer_write(x, bad[i].data, bad[i].len, bad[i].fds);
        assert_true(ag_offer_receive(x->ctl[0], &fd, &got));
        assert_int_equal(fd, -1);
        assert_int_equal(fds_count(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_offer_arrives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_malformed_leaks_nothing, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
