/* SPDX-License-Identifier: MIT */
/* The real agent binary, driven over a socketpair: trees. */
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
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"

static char dir[] = "/tmp/pv-agent-tree-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[4][512];
    static int i;

    i = (i + 1) % 4;
    snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
    return path[i];
}

static void get_reply(struct client *c, uint32_t id, struct cl_reply *a)
{
    cl_reply(c, id, NULL, 0, CL_SOON, a);
}

static void put_begin(struct client *c, uint32_t id, const char *name)
{
    cl_path(c, PV_MSG_TREE_PUT, id, in_dir(name));
}

static void put_end(struct client *c, uint32_t id, struct cl_reply *a)
{
    cl_entry(c, id, PV_ENTRY_END, 0, "", "");
    get_reply(c, id, a);
}

static mode_t mode_of(const char *name)
{
    struct stat st;

    return lstat(in_dir(name), &st) == 0 ? st.st_mode : 0;
}

static void content_is(const char *name, const char *want)
{
    char buf[256] = "";
    int fd = open(in_dir(name), O_RDONLY | O_NOFOLLOW);
    ssize_t n = read(fd, buf, sizeof(buf));

    close(fd);
    assert_int_equal(n, strlen(want));
    assert_string_equal(buf, want);
}

static const char odd[] = "\x01\n\x7f\xff \\*'\"";

static void put_sample(struct client *c, uint32_t id, const char *name)
{
    struct cl_reply a;
    char path[64];

    put_begin(c, id, name);
    cl_entry(c, id, PV_ENTRY_DIR, 0750, "", "");
    cl_entry(c, id, PV_ENTRY_DIR, 0500, "locked", "");
    cl_entry(c, id, PV_ENTRY_FILE, 04755, "locked/prog", "");
    cl_data(c, PV_MSG_WDATA, id, "one", 3);
    cl_data(c, PV_MSG_WDATA, id, "two", 3);
    cl_entry(c, id, PV_ENTRY_DIR, 01777, "locked/deep", "");
    cl_entry(c, id, PV_ENTRY_FILE, 0, "locked/deep/none", "");
    cl_entry(c, id, PV_ENTRY_DIR, 0700, "empty", "");
    cl_entry(c, id, PV_ENTRY_LINK, 0777, "link", "../no/where");
    cl_entry(c, id, PV_ENTRY_FILE, 0644, odd, "");
    cl_data(c, PV_MSG_WDATA, id, "odd", 3);
    cl_entry(c, id, PV_ENTRY_FILE, 0644, "sparse", "");
    cl_hole(c, id, 1 << 20);
    cl_data(c, PV_MSG_WDATA, id, "middle", 6);
    cl_hole(c, id, (1 << 20) - 6);
    put_end(c, id, &a);
    assert_string_equal(a.text, "");
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, 9);
    cl_reply_free(&a);
    snprintf(path, sizeof(path), "%s/%s", name, odd);
    content_is(path, "odd");
}

static void test_put(void **state)
{
    struct client *c = *state;
    struct stat st;
    char to[64] = "";

    for (uint32_t i = 1; i <= 2; i++) { /* the second time over what is there */
        put_sample(c, i, "t");
        assert_int_equal(mode_of("t"), S_IFDIR | 0750);
        assert_int_equal(mode_of("t/locked"), S_IFDIR | 0500);
        assert_int_equal(mode_of("t/locked/prog"), S_IFREG | 04755);
        content_is("t/locked/prog", "onetwo");
        assert_int_equal(mode_of("t/locked/deep"), S_IFDIR | 01777);
        assert_int_equal(mode_of("t/locked/deep/none"), S_IFREG);
        assert_int_equal(mode_of("t/empty"), S_IFDIR | 0700);
        assert_int_equal(readlink(in_dir("t/link"), to, sizeof(to)), 11);
        assert_string_equal(to, "../no/where");
        assert_int_equal(stat(in_dir("t/sparse"), &st), 0);
        assert_int_equal(st.st_size, 2 << 20);
        assert_true(st.st_blocks * 512 < 65536);
    }
}

struct entry {
    uint32_t kind, mode;
    uint64_t size;
    char name[256], target[256];
};

static bool find_entry(const struct cl_reply *a, const char *name, struct entry *e)
{
    struct pv_dec d = {.p = a->entries.p, .n = a->entries.n};

    while (d.n && !d.bad) {
        e->kind = pv_dec_u32(&d);
        e->mode = pv_dec_u32(&d);
        e->size = pv_dec_u64(&d);
        pv_dec_str(&d, e->name, sizeof(e->name));
        pv_dec_str(&d, e->target, sizeof(e->target));
        if (strcmp(e->name, name) == 0)
            return true;
    }
    return false;
}

static void has(const struct cl_reply *a, const char *name, uint32_t kind, uint32_t mode, uint64_t size)
{
    struct entry e;

    assert_true(find_entry(a, name, &e));
    assert_int_equal(e.kind, kind);
    assert_int_equal(e.mode, mode);
    assert_int_equal(e.size, size);
}

static void test_get(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    struct entry e;

    put_sample(c, 1, "g");
    cl_path(c, PV_MSG_TREE_GET, 2, in_dir("g"));
    get_reply(c, 2, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, 9);
    has(&a, "", PV_ENTRY_DIR, 0750, 0);
    has(&a, "locked", PV_ENTRY_DIR, 0500, 0);
    has(&a, "locked/prog", PV_ENTRY_FILE, 04755, 6);
    has(&a, "locked/deep", PV_ENTRY_DIR, 01777, 0);
    has(&a, "locked/deep/none", PV_ENTRY_FILE, 0, 0);
    has(&a, "empty", PV_ENTRY_DIR, 0700, 0);
    has(&a, odd, PV_ENTRY_FILE, 0644, 3);
    has(&a, "sparse", PV_ENTRY_FILE, 0644, 2 << 20);
    assert_true(find_entry(&a, "link", &e));
    assert_string_equal(e.target, "../no/where");
    /* The sparse file is complete, and most of it came as holes. */
    assert_int_equal(a.data[0].n + a.holes, (2 << 20) + 9);
    assert_true(a.data[0].n < 20000);
    cl_reply_free(&a);

    /* A file; a file with size 0 and content; a link to it. */
    cl_path(c, PV_MSG_TREE_GET, 3, "/proc/self/status");
    get_reply(c, 3, &a);
    assert_int_equal(a.value, 1);
    assert_true(a.data[0].n > 100);
    cl_reply_free(&a);
    cl_path(c, PV_MSG_TREE_GET, 4, in_dir("nothing"));
    get_reply(c, 4, &a);
    assert_int_equal(a.errnum, ENOENT);
    assert_non_null(strstr(a.text, "/nothing'"));
    cl_reply_free(&a);
}

/* More entries, and deeper, than any buffer holds: each arrives once. */
static void test_get_many(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    struct entry e;
    char cmd[512];

    snprintf(cmd, sizeof(cmd),
             "mkdir %s/m && cd %s/m && for i in $(seq 40); do mkdir -p d$i/a/b/c && (cd d$i && seq -f "
             "'file-number-%%g' 50 | xargs touch); done && head -c 3000000 /dev/urandom >big",
             dir, dir);
    assert_int_equal(system(cmd), 0);
    cl_path(c, PV_MSG_TREE_GET, 1, in_dir("m"));
    get_reply(c, 1, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, 1 + 40 * 54 + 1);
    assert_int_equal(a.data[0].n, 3000000);
    for (int i = 1; i <= 40; i++)
        for (int k = 1; k <= 50; k += 7) {
            snprintf(cmd, sizeof(cmd), "d%d/file-number-%d", i, k);
            has(&a, cmd, PV_ENTRY_FILE, 0644, 0);
        }
    cl_reply_free(&a);

    snprintf(cmd, sizeof(cmd), "d=%s/deep; mkdir $d; for i in $(seq 300); do d=$d/x; mkdir $d; done", dir);
    assert_int_equal(system(cmd), 0);
    cl_path(c, PV_MSG_TREE_GET, 2, in_dir("deep"));
    get_reply(c, 2, &a);
    assert_int_equal(a.errnum, ENAMETOOLONG);
    cl_reply_free(&a);
    snprintf(cmd, sizeof(cmd), "mkfifo %s/m/pipe", dir);
    assert_int_equal(system(cmd), 0);
    cl_path(c, PV_MSG_TREE_GET, 3, in_dir("m"));
    get_reply(c, 3, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, 1 + 40 * 54 + 1 + 1);
    assert_true(find_entry(&a, "pipe", &e));
    assert_int_equal(e.kind, PV_ENTRY_SKIPPED);
    assert_int_equal(e.mode & S_IFMT, S_IFIFO);
    assert_int_equal(e.size, 0);
    cl_reply_free(&a);
}

/* Files of /proc that fail at their first read (which of them do is up to the host's LSM) are left out. */
static void test_get_unreadable(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    struct entry e;

    cl_path(c, PV_MSG_TREE_GET, 2, "/proc/self/attr");
    get_reply(c, 2, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    for (struct pv_dec d = {.p = a.entries.p, .n = a.entries.n}; d.n && !d.bad;) {
        e.kind = pv_dec_u32(&d);
        e.mode = pv_dec_u32(&d);
        e.size = pv_dec_u64(&d);
        pv_dec_str(&d, e.name, sizeof(e.name));
        pv_dec_str(&d, e.target, sizeof(e.target));
        assert_true(e.kind != PV_ENTRY_SKIPPED || e.size != 0);
    }
    cl_reply_free(&a);
    /* the root itself cannot be left out */
    cl_path(c, PV_MSG_TREE_GET, 3, "/proc/self/mem");
    get_reply(c, 3, &a);
    assert_int_equal(a.errnum, EIO);
    cl_reply_free(&a);
}

/* TREE_PUT writes through no link that the tree holds already. */
static void test_put_links(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    char cmd[512];

    snprintf(cmd, sizeof(cmd),
             "mkdir %s/l %s/outside && echo old >%s/outside/f && ln -s ../outside %s/l/d && ln -s "
             "../outside/f %s/l/f",
             dir, dir, dir, dir, dir);
    assert_int_equal(system(cmd), 0);
    put_begin(c, 1, "l");
    cl_entry(c, 1, PV_ENTRY_DIR, 0755, "", "");
    cl_entry(c, 1, PV_ENTRY_FILE, 0644, "f", ""); /* replaces the link */
    cl_data(c, PV_MSG_WDATA, 1, "new", 3);
    cl_entry(c, 1, PV_ENTRY_FILE, 0644, "d/f", "");
    cl_data(c, PV_MSG_WDATA, 1, "bad", 3);
    put_end(c, 1, &a);
    assert_int_equal(a.errnum, ENOTDIR);
    assert_non_null(strstr(a.text, "/l/d/f'"));
    cl_reply_free(&a);
    content_is("outside/f", "old\n");
    content_is("l/f", "new");
    put_begin(c, 2, "l");
    cl_entry(c, 2, PV_ENTRY_DIR, 0755, "", "");
    cl_entry(c, 2, PV_ENTRY_DIR, 0755, "d", "");
    put_end(c, 2, &a);
    assert_int_equal(a.errnum, ENOTDIR);
    cl_reply_free(&a);
    put_begin(c, 3, "l");
    cl_entry(c, 3, PV_ENTRY_DIR, 0755, "", "");
    cl_entry(c, 3, PV_ENTRY_DIR, 0755, "x", "");
    cl_entry(c, 3, PV_ENTRY_FILE, 0755, "x", "");
    put_end(c, 3, &a);
    assert_int_equal(a.errnum, EISDIR);
    cl_reply_free(&a);
}

static void test_put_bad(void **state)
{
    static const char *const names[] = {"..", ".", "a/../b", "/x", "a//b", "a/", "x/..", ""};
    struct client *c = *state;
    struct cl_reply a;
    char longest[300];

    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]) + 1; i++) {
        bool is_long = i == sizeof(names) / sizeof(names[0]);

        memset(longest, 'x', 299);
        longest[299] = '\0';
        put_begin(c, i, "b");
        cl_entry(c, i, PV_ENTRY_DIR, 0755, "", "");
        cl_entry(c, i, PV_ENTRY_FILE, 0644, is_long ? longest : names[i], "");
        cl_data(c, PV_MSG_WDATA, i, "bad", 3);
        put_end(c, i, &a);
        assert_int_equal(a.errnum, EPROTO);
        cl_reply_free(&a);
    }
    /* Data and holes without a file, a hole beyond the largest offset, a first entry with a name. */
    put_begin(c, 100, "b");
    cl_data(c, PV_MSG_WDATA, 100, "bad", 3);
    put_end(c, 100, &a);
    assert_int_equal(a.errnum, EPROTO);
    cl_reply_free(&a);
    put_begin(c, 101, "hole");
    cl_entry(c, 101, PV_ENTRY_FILE, 0644, "", "");
    cl_hole(c, 101, UINT64_MAX);
    put_end(c, 101, &a);
    assert_int_equal(a.errnum, EFBIG);
    cl_reply_free(&a);
    put_begin(c, 102, "b");
    cl_entry(c, 102, PV_ENTRY_FILE, 0644, "x", "");
    put_end(c, 102, &a);
    assert_int_equal(a.errnum, EPROTO);
    cl_reply_free(&a);
    /* An entry below a root that is a file; a full device: the error names the file. */
    put_begin(c, 103, "file");
    cl_entry(c, 103, PV_ENTRY_FILE, 0640, "", "");
    cl_data(c, PV_MSG_WDATA, 103, "alone", 5);
    put_end(c, 103, &a);
    assert_int_equal(a.value, 1);
    cl_reply_free(&a);
    assert_int_equal(mode_of("file"), S_IFREG | 0640);
    content_is("file", "alone");
    cl_path(c, PV_MSG_TREE_PUT, 104, "/dev/full");
    cl_entry(c, 104, PV_ENTRY_FILE, 0640, "", "");
    cl_data(c, PV_MSG_WDATA, 104, "alone", 5);
    put_end(c, 104, &a);
    assert_int_equal(a.errnum, ENOSPC);
    assert_string_equal(a.text, "write '/dev/full'");
    cl_reply_free(&a);
    put_begin(c, 105, "file");
    cl_id(c, PV_MSG_CANCEL, 105);
    get_reply(c, 105, &a);
    assert_int_equal(a.errnum, ECANCELED);
    cl_reply_free(&a);
}

#define T(f) cmocka_unit_test_setup_teardown(f, cl_setup, cl_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_put),       T(test_get),     T(test_get_many), T(test_get_unreadable),
        T(test_put_links), T(test_put_bad),
    };
    char cmd[128];

    if (argc < 2 || !mkdtemp(dir))
        return 2;
    cl_agent = argv[1];
    umask(022);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    return system(cmd) == 0 ? r : 2;
}
