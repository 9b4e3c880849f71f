/* SPDX-License-Identifier: MIT */
/* Captures into files: their limit, whole blocks, and what tshark and tcpdump read of them, where they are installed. */
#include "util/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "loop/loop.h"
#include "net/address.h"
#include "net/capture-file.h"
#include "net/network.h"
#include "net/port.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { BLOCK_PACKET = 6, FRAMES = 100, SIZE = 1000 };

static char dir[] = "/tmp/pv-capture-test-XXXXXX";

static struct lab {
    struct pv_loop *loop;
    struct pv_net *net;
    struct pv_net_end *a;
    struct pv_port *p4, *p6;
} lab;

static void nothing_deliver(void *arg, const uint8_t *frame, size_t n)
{
    (void)arg;
    (void)frame;
    (void)n;
}

static int lab_begin(void **state)
{
    static const struct pv_ip ip4 = {.addr = {10, 7, 0, 1}, .n = 4},
                              ip6 = {.addr = {0xfd, [15] = 1}, .n = 16};

    (void)state;
    lab.loop = pv_loop_new(NULL);
    lab.net = pv_net_new(lab.loop, &(struct pv_net_opts){.name = "lan"});
    lab.a = pv_net_attach(lab.net, "a", (uint8_t[6]){2, 0, 0, 0, 0, 9}, nothing_deliver, NULL, NULL);
    lab.p4 = pv_port_new(lab.net, "p4", (uint8_t[6]){2, 0, 0, 0, 0, 1}, &ip4, NULL);
    lab.p6 = pv_port_new(lab.net, "p6", (uint8_t[6]){2, 0, 0, 0, 0, 2}, &ip6, NULL);
    return 0;
}

static int lab_end(void **state)
{
    (void)state;
    pv_net_free(lab.net);
    pv_loop_free(lab.loop);
    return 0;
}

static const char *in_dir(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static struct pv_capture_file *capture_open(const char *name, uint64_t max)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_capture_file *c = pv_capture_file_open(lab.net, in_dir(name), max, &err);

    if (!c)
        fail_msg("%s", err.text);
    return c;
}

static void frames_send(unsigned n)
{
    uint8_t frame[SIZE] = {2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 9, 0x88, 0xb5};

    for (unsigned i = 0; i < n; i++)
        pv_net_send(lab.a, frame, sizeof(frame));
}

/* The packets of a file, whose blocks are whole. */
static unsigned packets_count(const char *name)
{
    cleanup_buf struct pv_buf b = {0};
    struct pv_err err = PV_ERR_INIT;
    unsigned packets = 0;

    assert_int_equal(pv_read_file(in_dir(name), 1 << 20, &b, &err), 0);
    for (size_t at = 0; at < b.len;) {
        uint32_t head[2], tail;

        assert_true(b.len - at >= 12);
        memcpy(head, b.data + at, sizeof(head));
        assert_true(head[1] <= b.len - at);
        memcpy(&tail, b.data + at + head[1] - 4, sizeof(tail));
        assert_int_equal(head[1], tail);
        packets += head[0] == BLOCK_PACKET;
        at += head[1];
    }
    return packets;
}

static void test_limit(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_capture_file *c = capture_open("limit", 64 << 10), *other = capture_open("whole", 1 << 20);
    struct stat st;

    (void)state;
    frames_send(FRAMES);
    assert_int_equal(pv_capture_file_close(c, &err), -1);
    assert_int_equal(err.cls, PV_E_HOST);
    assert_non_null(strstr(err.text, "limit' ends too early: it has reached 64K"));
    assert_int_equal(stat(in_dir("limit"), &st), 0);
    assert_in_range(st.st_size, (64 << 10) - 2 * SIZE, 64 << 10);
    assert_in_range(packets_count("limit"), 50, 65);
    assert_int_equal(pv_capture_file_close(other, &err), 0);
    assert_int_equal(packets_count("whole"), FRAMES);
}

static void test_full_disk(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_capture_file *c = capture_open("full", 1 << 20);
    struct rlimit old, small;

    (void)state;
    frames_send(FRAMES);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 8192, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    frames_send(FRAMES);
    assert_int_equal(pv_capture_file_close(c, &err), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(err.cls, PV_E_HOST);
    assert_non_null(strstr(err.text, "cannot write the capture"));
}

static void test_refused(void **state)
{
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_null(pv_capture_file_open(lab.net, dir, 1, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_null(pv_capture_file_open(lab.net, in_dir("fifo"), 1, &err));
    assert_non_null(strstr(err.text, "FIFO"));
}

/* Output of a program that reads the capture; NULL: it is not installed. */
static char *tool_read(const char *tool, const char *options, const char *name)
{
    cleanup_free char *there = pv_xasprintf("command -v %s >/dev/null", tool);
    cleanup_free char *command = pv_xasprintf("%s -n -r %s %s 2>&1", tool, in_dir(name), options);
    cleanup_buf struct pv_buf out = {0};
    FILE *f;
    size_t n;

    if (system(there) != 0) {
        print_message("%s is not installed\n", tool);
        return NULL;
    }
    f = popen(command, "re");
    assert_non_null(f);
    while ((n = fread(pv_buf_reserve(&out, 4096), 1, 4096, f)) > 0)
        out.len += n;
    pv_buf_addc(&out, 0);
    if (pclose(f) != 0)
        fail_msg("%s: %s", command, out.data);
    return pv_xstrdup(out.data);
}

static unsigned lines_with(const char *text, const char *word)
{
    unsigned n = 0;

    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

/* ARP, a ping, a neighbour solicitation and a ping over IPv6; a port replies to each. */
static const struct {
    size_t n;
    uint8_t bytes[86];
} questions[] = {
    {42, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,    0, 0, 0, 9, 8, 6, 0, 1, 8, 0,    6, 4, 0,
          1,    2,    0,    0,    0,    0,    9, 0x0a, 7, 0, 9, 0, 0, 0, 0, 0, 0, 0x0a, 7, 0, 1}},
    {46,
     {2, 0,    0,    0,    0, 1, 2, 0,    0, 0, 0, 9, 8, 0,    0x45, 0, 0, 0x20, 0, 1,    0,    0,    0x40,
      1, 0x66, 0xc5, 0x0a, 7, 0, 9, 0x0a, 7, 0, 1, 8, 0, 0x1f, 0x3b, 0, 1, 0,    1, 0x64, 0x61, 0x74, 0x61}},
    {86,
     {0x33, 0x33, 0xff, 0, 0, 1, 2,    0, 0, 0, 0,    9, 0x86, 0xdd, 0x60, 0, 0,    0, 0,    0x20, 0x3a, 0xff,
      0xfd, 0,    0,    0, 0, 0, 0,    0, 0, 0, 0,    0, 0,    0,    0,    9, 0xff, 2, 0,    0,    0,    0,
      0,    0,    0,    0, 0, 1, 0xff, 0, 0, 1, 0x87, 0, 0x7d, 0x89, 0,    0, 0,    0, 0xfd, 0,    0,    0,
      0,    0,    0,    0, 0, 0, 0,    0, 0, 0, 0,    1, 1,    1,    2,    0, 0,    0, 0,    9}},
    {66, {2,    0, 0, 0, 0, 2, 2, 0, 0, 0, 0,    9, 0x86, 0xdd, 0x60, 0, 0,    0, 0,    0x0c, 0x3a, 0x40,
          0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0,    0,    0,    9, 0xfd, 0, 0,    0,    0,    0,
          0,    0, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0, 0xac, 0xe8, 0,    1, 0,    1, 0x64, 0x61, 0x74, 0x61}},
};

static void test_tools(void **state)
{
    struct pv_capture_file *c = capture_open("tools", 1 << 20);
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *dump = NULL, *shark = NULL;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(questions); i++)
        pv_net_send(lab.a, questions[i].bytes, questions[i].n);
    assert_int_equal(pv_capture_file_close(c, &err), 0);
    assert_int_equal(packets_count("tools"), 8);
    dump = tool_read("tcpdump", "-vv", "tools");
    if (dump) {
        assert_int_equal(lines_with(dump, "echo reply"), 2);
        assert_int_equal(lines_with(dump, "neighbor advertisement"), 1);
        assert_int_equal(lines_with(dump, "bad cksum") + lines_with(dump, "wrong icmp"), 0);
    }
    shark = tool_read("tshark", "-V -o ip.check_checksum:TRUE", "tools");
    if (shark) {
        assert_int_equal(lines_with(shark, "Echo (ping) reply"), 2);
        assert_int_equal(lines_with(shark, "Packet comments"), 8);
        assert_int_equal(lines_with(shark, "incorrect"), 0);
        assert_true(lines_with(shark, "[Checksum Status: Good]") >= 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_limit, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_full_disk, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_refused, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_tools, lab_begin, lab_end),
    };
    int r;

    assert_non_null(mkdtemp(dir));
    r = cmocka_run_group_tests(tests, NULL, NULL);
    pv_rm_rf(dir);
    return r;
}
