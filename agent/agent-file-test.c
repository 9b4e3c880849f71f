/* SPDX-License-Identifier: MIT */
/* The real agent binary, driven over a socketpair: files, and a host that violates the protocol. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"

static char dir[] = "/tmp/pv-agent-test-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void get_reply(struct client *c, uint32_t id, struct cl_reply *a)
{
    cl_reply(c, id, NULL, 0, CL_SOON, a);
}

static void write_file(struct client *c, uint32_t id, uint32_t mode, const char *path, const uint8_t *p,
                       size_t n, struct cl_reply *a)
{
    cl_write_begin(c, id, mode, path);
    for (size_t i = 0; i < n; i += PV_CHUNK)
        cl_data(c, PV_MSG_WDATA, id, p + i, n - i < PV_CHUNK ? n - i : PV_CHUNK);
    cl_data(c, PV_MSG_WDATA, id, "", 0);
    get_reply(c, id, a);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_mode & 07777 : 0xffff;
}

static void test_round_trip(void **state)
{
    static const size_t sizes[] = {
        0, 1, 256, 4095, 4096, 4097, PV_CHUNK - 1, PV_CHUNK, PV_CHUNK + 1, (4 << 20) + 1, 5000000};
    struct client *c = *state;
    uint8_t *data = malloc(5000000);
    struct cl_reply a;

    for (size_t i = 0; i < 5000000; i++)
        data[i] = (uint8_t)(i ^ (i >> 8) * 31);
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        write_file(c, 100 + i, PV_MODE_KEEP, in_dir("round"), data, sizes[i], &a);
        assert_int_equal(a.type, PV_MSG_OK);
        assert_int_equal(a.value, sizes[i]);
        cl_reply_free(&a);
        cl_path(c, PV_MSG_READ_FILE, 200 + i, in_dir("round"));
        get_reply(c, 200 + i, &a);
        assert_int_equal(a.type, PV_MSG_OK);
        assert_int_equal(a.value, sizes[i]);
        assert_int_equal(a.data[0].n, sizes[i]);
        if (sizes[i])
            assert_memory_equal(a.data[0].p, data, sizes[i]);
        cl_reply_free(&a);
    }
    free(data);
}

static void test_modes(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    static const uint32_t modes[] = {0644, 0600, 0777, 04755, 06711, 01777, 0, PV_MODE_KEEP};

    umask(077); /* the agent sets its own to 0 */
    for (uint32_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        write_file(c, i, modes[i], in_dir("mode"), (const uint8_t *)"x", 1, &a);
        assert_int_equal(a.type, PV_MSG_OK);
        assert_int_equal(mode_of(in_dir("mode")), modes[i] == PV_MODE_KEEP ? 0 : modes[i]);
        cl_reply_free(&a);
    }
    write_file(c, 50, PV_MODE_KEEP, in_dir("mode2"), NULL, 0, &a);
    assert_int_equal(mode_of(in_dir("mode2")), 0644);
    cl_reply_free(&a);
    umask(022);
}

static void test_special(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_path(c, PV_MSG_READ_FILE, 1, "/proc/self/status"); /* has size 0 */
    get_reply(c, 1, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_true(a.data[0].n > 100 && a.value == a.data[0].n);
    assert_memory_equal(a.data[0].p, "Name:\tprovium-agent\n", 20);
    cl_reply_free(&a);

    /* Reading a FIFO waits for a writer until CANCEL; writing to one without a reader does not hang. */
    mkfifo(in_dir("fifo"), 0600);
    cl_path(c, PV_MSG_READ_FILE, 2, in_dir("fifo"));
    assert_int_equal(cl_recv(c, 200), -1);
    int w = open(in_dir("fifo"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(w, "late", 4), 4);
    usleep(50000);
    assert_int_equal(write(w, "r", 1), 1);
    close(w);
    get_reply(c, 2, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.data[0].n, 5);
    cl_reply_free(&a);
    cl_path(c, PV_MSG_READ_FILE, 6, in_dir("fifo"));
    assert_int_equal(cl_recv(c, 100), -1);
    cl_id(c, PV_MSG_CANCEL, 6);
    get_reply(c, 6, &a);
    assert_int_equal(a.errnum, ECANCELED);
    cl_reply_free(&a);
    write_file(c, 3, PV_MODE_KEEP, in_dir("fifo"), NULL, 0, &a);
    assert_int_equal(a.type, PV_MSG_ERROR);
    assert_int_equal(a.errnum, ENXIO);
    cl_reply_free(&a);

    /* An endless file is not read while the host reads nothing; CANCEL ends the request. */
    cl_path(c, PV_MSG_READ_FILE, 4, "/dev/zero");
    assert_true(cl_await_unread(c, 100001));
    usleep(200000);
    cl_id(c, PV_MSG_CANCEL, 4);
    get_reply(c, 4, &a);
    assert_int_equal(a.type, PV_MSG_ERROR);
    assert_int_equal(a.errnum, ECANCELED);
    assert_true(a.data[0].n > 100000 && a.data[0].n < 10000000);
    cl_reply_free(&a);

    write_file(c, 5, PV_MODE_KEEP, "/dev/full", (const uint8_t *)"x", 1, &a);
    assert_int_equal(a.errnum, ENOSPC);
    assert_string_equal(a.text, "write '/dev/full'");
    cl_reply_free(&a);
}

static void test_errors(void **state)
{
    static const struct {
        bool write;
        const char *path;
        int errnum;
    } cases[] = {
        {false, "/nonexistent/x", ENOENT}, {false, "/etc", EISDIR},
        {false, "/etc/passwd/x", ENOTDIR}, {false, "", ENOENT},
        {true, "/nonexistent/x", ENOENT},  {true, "/tmp", EISDIR},
        {true, "/etc/passwd/x", ENOTDIR},
    };
    struct client *c = *state;
    static uint8_t junk[3 * PV_CHUNK];

    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        struct cl_reply a;

        /* WDATA behind a failed write is dropped, and the next request works. */
        if (cases[i].write)
            write_file(c, i, PV_MODE_KEEP, cases[i].path, junk, sizeof(junk), &a);
        else {
            cl_path(c, PV_MSG_READ_FILE, i, cases[i].path);
            get_reply(c, i, &a);
        }
        snprintf(text, sizeof(text), "open '%s'", cases[i].path);
        assert_int_equal(a.type, PV_MSG_ERROR);
        assert_int_equal(a.errnum, cases[i].errnum);
        assert_string_equal(a.text, text);
        cl_reply_free(&a);
    }
}

static void test_write_cancel(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_write_begin(c, 1, 0600, in_dir("half"));
    cl_data(c, PV_MSG_WDATA, 1, "half", 4);
    cl_id(c, PV_MSG_CANCEL, 1);
    get_reply(c, 1, &a);
    assert_int_equal(a.errnum, ECANCELED);
    cl_reply_free(&a);
    cl_data(c, PV_MSG_WDATA, 1, "late", 4);
    cl_data(c, PV_MSG_WDATA, 1, "", 0);
    cl_path(c, PV_MSG_READ_FILE, 2, in_dir("half"));
    get_reply(c, 2, &a);
    assert_int_equal(a.data[0].n, 4);
    cl_reply_free(&a);
}

static uint8_t *pattern(size_t n)
{
    uint8_t *p = malloc(n);

    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i ^ (i >> 8) * 31);
    return p;
}

static void expect_file(const char *path, const uint8_t *want, size_t n)
{
    uint8_t *got = malloc(n + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t have = 0;

    assert_true(fd >= 0);
    for (ssize_t r; (r = read(fd, got + have, n + 1 - have)) > 0;)
        have += (size_t)r;
    close(fd);
    assert_int_equal(have, n);
    assert_memory_equal(got, want, n);
    free(got);
}

/* A WDATA frame is written as its pieces arrive, and the frame behind it is handled. */
static void test_write_pieces(void **state)
{
    static const size_t pieces[] = {1, 12, 13, 14, 4095, 4096, 4097, 65536, 300000, 500000};
    struct client *c = *state;
    enum { LEN = 1000000 };
    uint8_t *data = pattern(LEN), *frame = malloc(LEN + 64);
    struct cl_reply a;

    for (uint32_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct pv_enc e = {.p = frame, .cap = LEN + 64};

        pv_enc_begin(&e, PV_MSG_WDATA);
        pv_enc_u32(&e, i);
        pv_enc_bytes(&e, data, LEN);
        size_t n = pv_enc_end(&e);

        cl_write_begin(c, i, 0600, in_dir("pieces"));
        for (size_t at = 0, k; at < n; at += k) {
            /* Little ones only where the frame begins and where it ends. */
            k = pieces[i] >= 4095 || at < 100 || at > n - 100 ? pieces[i] : n - 50 - at;
            k = k < n - at ? k : n - at;
            cl_send_raw(c, frame + at, k);
            if (k > 1)
                usleep(1000);
        }
        cl_data(c, PV_MSG_WDATA, i, "end", 3);
        cl_data(c, PV_MSG_WDATA, i, "", 0);
        get_reply(c, i, &a);
        assert_int_equal(a.type, PV_MSG_OK);
        assert_int_equal(a.value, LEN + 3);
        cl_reply_free(&a);
        assert_int_equal(truncate(in_dir("pieces"), LEN), 0);
        expect_file(in_dir("pieces"), data, LEN);
    }
    free(frame);
    free(data);
}

/* After an incomplete WDATA frame the file holds whole pages of it. */
static void test_write_cut_off(void **state)
{
    struct client *c = *state;
    uint8_t *data = pattern(PV_CHUNK);
    uint8_t head[PV_FRAME_HEADER + 8];
    struct pv_enc e = {.p = head, .cap = sizeof(head)};

    cl_write_begin(c, 1, 0600, in_dir("cut"));
    pv_enc_begin(&e, PV_MSG_WDATA);
    pv_enc_u32(&e, 1);
    pv_enc_u32(&e, PV_CHUNK);
    pv_frame_put_header(head, PV_MSG_WDATA, 8 + PV_CHUNK);
    cl_send_raw(c, head, sizeof(head));
    cl_send_raw(c, data, 200000);
    shutdown(c->fd, SHUT_WR);
    while (cl_recv(c, CL_SOON) == 1)
        ;
    assert_int_equal(cl_stop(c), 0);
    assert_true(cl_start(c, cl_agent));
    expect_file(in_dir("cut"), data, 200000 / 4096 * 4096);
    free(data);
}

/* ENOSPC in a WDATA frame: ERROR comes, the file keeps the part that fitted, the next request works. */
static void test_write_limit(void **state)
{
    struct client *c = *state;
    struct rlimit limit = {.rlim_cur = 300000, .rlim_max = 300000};
    uint8_t *data = pattern(2000000);
    struct cl_reply a;

    assert_int_equal(prlimit(c->pid, RLIMIT_FSIZE, &limit, NULL), 0);
    write_file(c, 1, 0600, in_dir("limit"), data, 2000000, &a);
    assert_int_equal(a.type, PV_MSG_ERROR);
    assert_int_equal(a.errnum, EFBIG);
    assert_non_null(strstr(a.text, "write '"));
    cl_reply_free(&a);
    expect_file(in_dir("limit"), data, 300000);
    write_file(c, 2, 0600, in_dir("limit"), data, 100000, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    cl_reply_free(&a);
    expect_file(in_dir("limit"), data, 100000);
    free(data);
}

/* A file that is truncated and grown during READ_FILE is read to its new end. */
static void test_read_changing(void **state)
{
    struct client *c = *state;
    enum { LEN = 8 << 20 };
    uint8_t *data = pattern(LEN);
    struct cl_reply a;

    write_file(c, 1, 0600, in_dir("changing"), data, LEN, &a);
    cl_reply_free(&a);
    cl_path(c, PV_MSG_READ_FILE, 2, in_dir("changing"));
    usleep(200000); /* the output buffer is full by now */
    assert_int_equal(truncate(in_dir("changing"), 10000), 0);
    get_reply(c, 2, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, a.data[0].n);
    assert_in_range(a.data[0].n, 10000, LEN - 1);
    assert_memory_equal(a.data[0].p, data, a.data[0].n);
    cl_reply_free(&a);

    assert_int_equal(truncate(in_dir("changing"), 4 << 20), 0); /* all but 10000 bytes are a hole */
    cl_path(c, PV_MSG_READ_FILE, 3, in_dir("changing"));
    usleep(200000);
    int fd = open(in_dir("changing"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "more", 4), 4);
    close(fd);
    get_reply(c, 3, &a);
    assert_int_equal(a.data[0].n, (4 << 20) + 4);
    assert_memory_equal(a.data[0].p, data, 10000);
    assert_int_equal(a.data[0].p[10000] | a.data[0].p[(4 << 20) - 1], 0);
    assert_memory_equal(a.data[0].p + (4 << 20), "more", 4);
    cl_reply_free(&a);
    free(data);
}

/* ---- violations of the protocol ---- */

static void expect_closed(struct client *c)
{
    int r;

    while ((r = cl_recv(c, CL_SOON)) == 1)
        ;
    assert_int_equal(r, 0);
    assert_int_equal(cl_stop(c), 0); /* exits, does not crash */
    assert_true(cl_start(c, cl_agent));
}

static void test_bad_headers(void **state)
{
    static const uint8_t bad[][5] = {
        {PV_MSG_PING, 0xff, 0xff, 0xff, 0xff}, /* 4 GiB */
        {PV_MSG_EXEC, 1, 0, 0x10, 0},          /* one byte too long */
        {0, 0, 0, 0, 0},                       /* unknown types */
        {0x7e, 0, 0, 0, 0},
        {0x7f, 4, 0, 0, 0},
        {0xff, 4, 0, 0, 0},
    };
    struct client *c = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cl_send_raw(c, bad[i], sizeof(bad[i]));
        expect_closed(c);
    }
    for (unsigned type = PV_MSG_READY; type <= PV_MSG_HOLE; type++) { /* the guest's own words */
        const uint8_t frame[] = {(uint8_t)type, 4, 0, 0, 0, 1, 0, 0, 0};

        cl_send_raw(c, frame, sizeof(frame));
        expect_closed(c);
    }
}

static void test_bad_payloads(void **state)
{
    struct client *c = *state;

    for (unsigned type = PV_MSG_PING; type <= PV_MSG_CANCEL; type++)
        for (uint8_t n = 0; n < 40; n++) {
            uint8_t frame[5 + 40];
            struct cl_reply a;

            if (type == PV_MSG_SHUTDOWN && n == 8) /* that one is well formed, but for its 0xff */
                continue;
            if (n == 4 && (type == PV_MSG_CANCEL || type == PV_MSG_MOUNT_VFS))
                continue; /* well formed */
            memset(frame, 0xff, sizeof(frame));
            pv_frame_put_header(frame, type, n);
            cl_send_raw(c, frame, 5 + (size_t)n);
            get_reply(c, n < 4 ? 0 : UINT32_MAX, &a);
            assert_int_equal(a.type, PV_MSG_ERROR);
            assert_int_equal(a.errnum, EPROTO);
            cl_reply_free(&a);
        }
}

/* A frame that arrives byte by byte, and half a frame before the end. */
static void test_pieces(void **state)
{
    struct client *c = *state;
    uint8_t buf[256];
    struct pv_enc e = {.p = buf, .cap = sizeof(buf)};

    pv_enc_begin(&e, PV_MSG_PING);
    pv_enc_u32(&e, 77);
    pv_enc_bytes(&e, "payload", 7);
    size_t n = pv_enc_end(&e);

    for (int k = 0; k < 50; k++) {
        for (size_t i = 0; i < n; i++)
            cl_send_raw(c, buf + i, 1);
        assert_int_equal(cl_recv(c, CL_SOON), 1);
        assert_int_equal(c->type, PV_MSG_PONG);
    }
    for (size_t i = 1; i < n; i++) {
        cl_send_raw(c, buf, i);
        shutdown(c->fd, SHUT_WR);
        expect_closed(c);
    }
}

/* Random bytes: the agent replies or closes; it does not crash, hang or grow. SHUTDOWN fails on a host. */
static void test_garbage(void **state)
{
    struct client *c = *state;
    uint32_t seed = 12345;

    for (int round = 0; round < 300; round++) {
        uint8_t buf[512];
        size_t n = 1 + (size_t)round % sizeof(buf);

        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525 + 1013904223;
            buf[i] = (uint8_t)(seed >> 24);
        }
        if (round & 1) /* a good header, then nonsense: gets further in */
            pv_frame_put_header(buf, PV_MSG_PING + (unsigned)round / 2 % 9, n > 5 ? (uint32_t)n - 5 : 0);
        cl_send_raw(c, buf, n < 5 ? 5 : n);
        shutdown(c->fd, SHUT_WR);
        expect_closed(c);
    }
}

/* Endless requests from a host that reads no reply: the agent stops reading them and does not grow. */
static void deaf(struct client *c, size_t size)
{
    static uint8_t big[200000];
    char path[64], text[4096];
    long rss = 0;
    uint8_t frame[PV_FRAME_HEADER + 8 + sizeof(big)];
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    pv_enc_begin(&e, PV_MSG_PING);
    pv_enc_u32(&e, 1);
    pv_enc_bytes(&e, big, size);
    size_t n = pv_enc_end(&e), sent = 0, total = 0;
    for (int idle = 0; idle < 50;) {
        ssize_t r = send(c->fd, frame + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (r <= 0) {
            usleep(10000);
            idle++;
            continue;
        }
        idle = 0;
        total += (size_t)r;
        sent = (sent + (size_t)r) % n;
        assert_true(total < 20000000); /* the agent has stopped reading */
    }
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)c->pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof(text), f));
    fclose(f);
    assert_int_equal(sscanf(text, "%*d %ld", &rss), 1);
    assert_true(rss * 4096 < 8000000);
    for (size_t got = 0; got < total / n; got++) /* every request that was taken gets its reply */
        assert_int_equal(cl_recv(c, CL_SOON), 1);
    cl_send_raw(c, frame + sent, (n - sent) % n); /* the rest of the last frame */
    if (sent)
        assert_int_equal(cl_recv(c, CL_SOON), 1);
}

static void test_deaf_host(void **state)
{
    static const size_t sizes[] = {200000, 100, 0, 70000, 1};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        deaf(*state, sizes[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, cl_setup, cl_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_round_trip),    T(test_modes),        T(test_special),       T(test_errors),
        T(test_write_cancel),  T(test_write_pieces), T(test_write_cut_off), T(test_write_limit),
        T(test_read_changing), T(test_bad_headers),  T(test_bad_payloads),  T(test_pieces),
        T(test_garbage),       T(test_deaf_host),
    };
    char cmd[128];

    if (argc < 2 || !mkdtemp(dir))
        return 2;
    cl_agent = argv[1];
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    return system(cmd) == 0 ? r : 2;
}
