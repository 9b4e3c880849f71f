/* SPDX-License-Identifier: MIT */
/* Legal and illegal vhost-user messages. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/clock.h"
#include "util/mem.h"
#include "vhost/front.h"

static bool broken(void *arg)
{
    return ((struct front *)arg)->v->error != 0;
}

/* Waits until the device breaks, checks that its error contains `text`, and frees all. */
static void expect_broken(struct front *f, const char *text)
{
    ssize_t r;
    char c;

    front_run(f, broken, f);
    if (!strstr(f->v->error_text, text))
        fail_msg("'%s' is not in '%s'", text, f->v->error_text);
    assert_int_equal(f->changes, 1);
    do
        r = recv(f->sock, &c, 1, MSG_DONTWAIT);
    while (r > 0);
    assert_true(r == 0 || errno == ECONNRESET); /* QEMU sees the connection closed */
    front_fini(f);
}

static void questions(void **state)
{
    struct front f;
    uint8_t config[20] = {0};
    uint32_t wrong[5] = {4, 8, 0, 0, 0};
    uint64_t v;

    (void)state;
    front_init(&f, 128);
    assert_int_equal(front_msg(&f, 1, NULL, 0, NULL, 0), (1LL << 32) | (1LL << 30));
    assert_int_equal(front_msg(&f, 15, NULL, 0, NULL, 0), (1 << 9) | (1 << 3));
    v = 1 << 9 | 1 << 3;
    assert_int_equal(front_msg(&f, 16, &v, 8, NULL, 0), 0);
    assert_int_equal(front_msg(&f, 3, NULL, 0, NULL, 0), 0);
    config[4] = 8;
    assert_int_equal(front_msg(&f, 24, config, sizeof(config), NULL, 0), FRONT_CID);
    /* A range beyond the configuration space: an empty reply. */
    assert_int_equal(front_msg(&f, 24, wrong, sizeof(wrong), NULL, 0), 0);
    assert_int_equal(f.v->error, 0);
    front_fini(&f);
}

static bool answered(void *arg)
{
    char c;

    return recv(((struct front *)arg)->sock, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Messages byte by byte, and several at once. */
static void reads_partial_messages(void **state)
{
    struct front f;
    uint32_t msg[2][5] = {{8, 1, 8, 0, 64}, {8, 9, 8, 1, 64}};
    uint32_t answer[5];

    (void)state;
    front_init(&f, 128);
    for (size_t i = 0; i < 20; i++) {
        front_send_raw(&f, (uint8_t *)msg[0] + i, 1, NULL, 0);
        /* A deadline that has passed would not run at all: one round, of at most a millisecond. */
        pv_loop_run(f.loop, NULL, NULL, pv_deadline(PV_NSEC_PER_MSEC), NULL);
    }
    front_send_raw(&f, msg, sizeof(msg), NULL, 0);
    front_run(&f, answered, &f);
    assert_int_equal(recv(f.sock, answer, sizeof(answer), 0), 20);
    assert_int_equal(answer[0], 8);
    assert_int_equal(answer[3], 0);
    front_sync(&f);
    assert_int_equal(f.v->error, 0);
    front_fini(&f);
}

static int open_descriptors(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void restarts(void **state)
{
    struct front f;
    uint64_t index = 0;
    int before, after;

    (void)state;
    before = open_descriptors();
    for (int i = 0; i < 3; i++) {
        front_init(&f, 128);
        front_start(&f);
        /* Call descriptors may change, also to none. */
        for (int j = 0; j < 3; j++)
            assert_int_equal(front_msg(&f, 13, &index, 8, &f.ring[0].call, 1), 0);
        index = 0x100;
        assert_int_equal(front_msg(&f, 13, &index, 8, NULL, 0), 0);
        index = 0;
        assert_int_equal(front_msg(&f, 14, &index, 8, &f.ring[0].call, 1), 0);
        assert_int_equal(front_msg(&f, 12, &index, 8, &f.ring[0].kick, 1), 0);
        assert_int_equal(front_mem_table(&f), 0); /* while it runs */
        assert_true(pv_vsock_device_ready(f.v));
        front_stop(&f);
        front_start(&f);
        front_fini(&f);
    }
    after = open_descriptors();
    assert_int_equal(before, after); /* no descriptor was left open */
}

/* Messages that are illegal in any state. */
static const struct {
    uint32_t header[3];
    uint32_t body[12];
    uint32_t n; /* bytes of body sent */
    int fds;    /* eventfds sent along */
    const char *text;
} illegal[] = {
    {{77, 1, 0}, {0}, 0, 0, "unknown vhost-user request 77"},
    {{1, 0, 0}, {0}, 0, 0, "flags 0x0"},
    {{1, 2, 0}, {0}, 0, 0, "flags 0x2"},
    {{1, 5, 0}, {0}, 0, 0, "flags 0x5"},
    {{1, 1, 0xffffffff}, {0}, 0, 0, "4294967295 bytes"},
    {{1, 1, 513}, {0}, 0, 0, "513 bytes"},
    {{1, 1, 8}, {0}, 8, 0, "GET_FEATURES with 8 bytes"},
    {{1, 1, 0}, {0}, 0, 1, "GET_FEATURES with 1 descriptors"},
    {{2, 1, 4}, {0}, 4, 0, "SET_FEATURES with 4 bytes"},
    {{2, 1, 8}, {1, 0}, 8, 0, "features 0x1"},
    {{16, 1, 8}, {1, 0}, 8, 0, "protocol features 0x1"},
    {{8, 1, 8}, {2, 64}, 8, 0, "named ring 2"},
    {{8, 1, 8}, {0xffffffff, 64}, 8, 0, "named ring 4294967295"},
    {{8, 1, 8}, {0, 0}, 8, 0, "ring size of 0"},
    {{8, 1, 8}, {0, 3}, 8, 0, "ring size of 3"},
    {{8, 1, 8}, {0, 2048}, 8, 0, "ring size of 2048"},
    {{10, 1, 8}, {0, 65536}, 8, 0, "ring base of 65536"},
    {{9, 1, 40}, {2, 0}, 40, 0, "named ring 2"},
    {{9, 1, 40}, {0, 1}, 40, 0, "log of ring writes"},
    {{11, 1, 8}, {9, 0}, 8, 0, "named ring 9"},
    {{12, 1, 8}, {2, 0}, 8, 1, "named ring 2"},
    {{12, 1, 8}, {0, 0}, 8, 0, "0 descriptors for a ring event"},
    {{12, 1, 8}, {0, 0}, 8, 2, "2 descriptors for a ring event"},
    {{12, 1, 8}, {0x100, 0}, 8, 0, "polled"},
    {{12, 1, 8}, {0x200, 0}, 8, 1, "unknown flags"},
    {{13, 1, 8}, {0x100, 0}, 8, 1, "announced none"},
    {{13, 1, 8}, {0, 0}, 8, 9, "more than 8"},
    {{18, 1, 8}, {2, 1}, 8, 0, "named ring 2"},
    {{18, 1, 8}, {0, 2}, 8, 0, "enabled a ring with 2"},
    {{24, 1, 20}, {0, 9, 0}, 20, 0, "9 bytes of configuration"},
    {{24, 1, 12}, {0, 0xfffffff4, 0}, 12, 0, "bytes of configuration"},
    {{5, 1, 8}, {0, 0}, 8, 0, "memory table of 0 regions"},
    {{5, 1, 40}, {2, 0}, 40, 1, "memory table of 2 regions"},
    {{5, 1, 40}, {1, 0}, 40, 0, "with 0 descriptors"},
    {{5, 1, 40}, {1, 0}, 40, 2, "with 2 descriptors"},
    {{5, 1, 40}, {9, 0}, 40, 1, "memory table of 9 regions"},
    {{5, 1, 40}, {0x08000001, 0}, 40, 1, "memory table of 134217729 regions"},
    {{5, 1, 40}, {1, 0, 0, 0, 4096, 0, 0, 0, 0, 0}, 40, 1, "no file"},
};

static void wrong_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(illegal); i++) {
        struct front f;
        uint8_t msg[128];
        int fds[9];

        front_init(&f, 128);
        for (int j = 0; j < 9; j++)
            fds[j] = f.ring[0].call;
        memcpy(msg, illegal[i].header, 12);
        memcpy(msg + 12, illegal[i].body, illegal[i].n);
        front_send_raw(&f, msg, 12 + illegal[i].n, fds, (unsigned)illegal[i].fds);
        expect_broken(&f, illegal[i].text);
    }
}

static void cut_short(void **state)
{
    struct front f;
    uint32_t msg[5] = {8, 1, 8, 0, 64};

    (void)state;
    for (size_t n = 1; n < sizeof(msg); n += 3) {
        front_init(&f, 128);
        front_send_raw(&f, msg, n, NULL, 0);
        shutdown(f.sock, SHUT_WR);
        expect_broken(&f, "amid a message");
    }
    /* Descriptors in the middle of a message. */
    front_init(&f, 128);
    front_send_raw(&f, msg, 12, NULL, 0);
    pv_loop_run(f.loop, NULL, NULL, pv_deadline(PV_NSEC_PER_MSEC), NULL);
    front_send_raw(&f, msg + 3, 8, &f.memfd, 1);
    expect_broken(&f, "unexpected place");
}

static void table(struct front *f, unsigned n, const uint64_t (*regions)[4], const int *fds)
{
    uint8_t msg[12 + 8 + 8 * 32];
    uint32_t head[5] = {5, 1, 8 + 32 * n, n, 0};

    memcpy(msg, head, 20);
    memcpy(msg + 20, regions, 32 * n);
    front_send_raw(f, msg, 20 + 32 * n, fds, n);
}

static void wrong_memory(void **state)
{
    static const struct {
        uint64_t r[2][4]; /* gpa, size, uva, offset */
        const char *text;
    } cases[] = {
        {{{0, 0, 0, 0}}, "empty memory region"},
        {{{0, FRONT_MEM + 1, 0, 0}}, "of a file of"},
        {{{0, FRONT_MEM, 0, 4096}}, "of a file of"},
        {{{0, 4096, 0, UINT64_MAX - 4096}}, "of a file of"},
        {{{0, 4096, 0, UINT64_MAX - 4095}}, "past the end"},
        {{{UINT64_MAX - 10, 4096, 0, 0}}, "past the end"},
        {{{0, 4096, UINT64_MAX - 10, 0}}, "past the end"},
        {{{0, UINT64_MAX, 1, 0}}, "past the end"},
        {{{0, 8192, 0, 0}, {4096, 4096, 0x100000, 0}}, "overlap"},
        {{{0, 8192, 0x100000, 0}, {0x200000, 4096, 0x101fff, 0}}, "overlap"},
    };
    struct front f;
    int fds[2];

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        front_init(&f, 128);
        fds[0] = fds[1] = f.memfd;
        table(&f, cases[i].r[1][1] ? 2 : 1, cases[i].r, fds);
        expect_broken(&f, cases[i].text);
    }
    /* A file that is not sealed against shrinking. */
    front_init(&f, 128);
    fds[0] = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fds[0], 65536), 0);
    table(&f, 1, (const uint64_t[1][4]){{0, 65536, 0, 0}}, fds);
    close(fds[0]);
    expect_broken(&f, "sealed");
}

static void wrong_rings(void **state)
{
    static const uint64_t cases[][3] = {
        /* desc, used, avail */
        {0, FRONT_UVA + 0x2000, FRONT_UVA + 0x1000},
        {FRONT_UVA, 0, FRONT_UVA + 0x1000},
        {FRONT_UVA, FRONT_UVA + 0x2000, 0},
        {FRONT_UVA + 8, FRONT_UVA + 0x2000, FRONT_UVA + 0x1000},       /* misaligned */
        {FRONT_UVA + FRONT_MEM - 2032, FRONT_UVA + 0x2000, FRONT_UVA}, /* ends outside */
        {FRONT_UVA, FRONT_UVA + FRONT_MEM - 1024, FRONT_UVA + 0x1000},
        {FRONT_UVA, FRONT_UVA + 0x2000, UINT64_MAX - 1},
        {FRONT_GPA, FRONT_GPA + 0x2000, FRONT_GPA + 0x1000}, /* of the wrong kind */
    };
    struct front f;
    uint64_t index = 0;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        front_init(&f, 128);
        front_mem_table(&f);
        front_msg2(&f, 8, 0, 128);
        front_addr(&f, 0, cases[i][0], cases[i][1], cases[i][2]);
        front_msg(&f, 12, &index, 8, &f.ring[0].kick, 1);
        assert_int_equal(front_msg2(&f, 18, 0, 1), -1);
        expect_broken(&f, "outside guest memory");
    }
    front_init(&f, 128);
    front_mem_table(&f);
    front_msg2(&f, 18, 0, 1);
    assert_int_equal(front_msg(&f, 12, &index, 8, &f.ring[0].kick, 1), -1);
    expect_broken(&f, "without telling its size");
}

/* Changing a running ring, and a memory table without the rings. */
static void wrong_time(void **state)
{
    struct front f;
    uint64_t addr[5] = {0, FRONT_UVA, FRONT_UVA, FRONT_UVA, 0};

    (void)state;
    for (uint32_t request = 8; request <= 10; request++) {
        front_init(&f, 128);
        front_start(&f);
        f.changes = 0;
        assert_int_equal(front_msg(&f, request, addr, request == 9 ? 40 : 8, NULL, 0), -1);
        expect_broken(&f, "while it runs");
    }
    front_init(&f, 128);
    front_start(&f);
    f.changes = 0;
    table(&f, 1, (const uint64_t[1][4]){{0, 4096, 0, 0}}, &f.memfd);
    expect_broken(&f, "after new memory regions");
}

/* Descriptors that are no eventfds and could block, raise a signal or spin. */
static void wrong_descriptors(void **state)
{
    struct front f;
    uint64_t index = 0;
    int p[2];

    (void)state;
    for (uint32_t request = 12; request <= 13; request++) {
        front_init(&f, 128);
        assert_int_equal(pipe2(p, O_CLOEXEC), 0);
        assert_int_equal(front_msg(&f, request, &index, 8, &p[1], 1), -1);
        close(p[0]);
        close(p[1]);
        expect_broken(&f, "no eventfd");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions),         cmocka_unit_test(reads_partial_messages),
        cmocka_unit_test(restarts),          cmocka_unit_test(wrong_messages),
        cmocka_unit_test(cut_short),         cmocka_unit_test(wrong_memory),
        cmocka_unit_test(wrong_rings),       cmocka_unit_test(wrong_time),
        cmocka_unit_test(wrong_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
