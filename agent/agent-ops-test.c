/* SPDX-License-Identifier: MIT */
/* The real agent binary, driven over a socketpair: STAT, LIST, FILE_OP, REMOVE_TREE, parts of files. */
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
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client.h"

static char dir[] = "/tmp/pv-ops-test-XXXXXX";
static uint32_t id;

static const char *in_dir(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static void make_file(const char *name, const char *text)
{
    FILE *f = fopen(in_dir(name), "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* The errno of the reply to the request that was just sent; 0: OK. */
static uint32_t reply_errno(struct client *c, char *text, size_t cap)
{
    struct cl_reply a;
    uint32_t e;

    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_true(a.type == PV_MSG_OK || a.type == PV_MSG_ERROR);
    e = a.errnum;
    if (text)
        memcpy(text, a.text, strnlen(a.text, cap - 1) + 1);
    cl_reply_free(&a);
    return e;
}

static uint32_t file_op(struct client *c, uint32_t op, uint32_t a, uint32_t b, const char *path,
                        const char *other)
{
    cl_file_op(c, ++id, op, a, b, path, other);
    return reply_errno(c, NULL, 0);
}

static uint32_t remove_tree(struct client *c, const char *path)
{
    cl_path(c, PV_MSG_REMOVE_TREE, ++id, path);
    return reply_errno(c, NULL, 0);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0xffff;
}

static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* ---- STAT ---- */

static void expect_stat(struct client *c, const char *path, uint32_t follow, uint32_t type)
{
    struct stat st;
    struct cl_reply a;

    assert_int_equal(follow ? stat(path, &st) : lstat(path, &st), 0);
    cl_stat(c, ++id, follow, path);
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_FILE_STAT);
    struct pv_dec d = {.p = a.entries.p, .n = a.entries.n};

    assert_int_equal(pv_dec_u32(&d), type);
    assert_int_equal(pv_dec_u32(&d), st.st_mode & 07777);
    assert_int_equal(pv_dec_u32(&d), st.st_uid);
    assert_int_equal(pv_dec_u32(&d), st.st_gid);
    assert_int_equal(pv_dec_u64(&d), st.st_size);
    assert_int_equal(pv_dec_u64(&d), st.st_nlink);
    assert_int_equal(pv_dec_u64(&d), st.st_ino);
    assert_int_equal(pv_dec_u64(&d), st.st_dev);
    assert_int_equal(pv_dec_u64(&d), st.st_rdev);
    assert_int_equal(pv_dec_u64(&d), st.st_atim.tv_sec);
    assert_int_equal(pv_dec_u32(&d), st.st_atim.tv_nsec);
    assert_int_equal(pv_dec_u64(&d), st.st_mtim.tv_sec);
    assert_int_equal(pv_dec_u32(&d), st.st_mtim.tv_nsec);
    assert_int_equal(pv_dec_u64(&d), st.st_ctim.tv_sec);
    assert_int_equal(pv_dec_u32(&d), st.st_ctim.tv_nsec);
    assert_true(pv_dec_done(&d));
    cl_reply_free(&a);
}

static void test_stat(void **state)
{
    struct client *c = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[256];

    make_file("s-file", "123");
    assert_int_equal(chmod(in_dir("s-file"), 06751), 0);
    assert_int_equal(symlink("s-file", in_dir("s-link")), 0);
    assert_int_equal(symlink("nowhere", in_dir("s-dangling")), 0);
    assert_int_equal(mkfifo(in_dir("s-fifo"), 0600), 0);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s-sock", dir);
    assert_int_equal(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
    close(s);
    expect_stat(c, in_dir("s-file"), 1, PV_TYPE_FILE);
    expect_stat(c, in_dir("s-link"), 1, PV_TYPE_FILE);
    expect_stat(c, in_dir("s-link"), 0, PV_TYPE_LINK);
    expect_stat(c, in_dir("s-dangling"), 0, PV_TYPE_LINK);
    expect_stat(c, in_dir("s-fifo"), 1, PV_TYPE_FIFO);
    expect_stat(c, in_dir("s-sock"), 1, PV_TYPE_SOCKET);
    expect_stat(c, dir, 1, PV_TYPE_DIR);
    expect_stat(c, "/dev/null", 1, PV_TYPE_CHAR);

    cl_stat(c, ++id, 1, in_dir("s-dangling"));
    assert_int_equal(reply_errno(c, text, sizeof(text)), ENOENT);
    assert_non_null(strstr(text, "stat '"));
    cl_stat(c, ++id, 1, in_dir("s-file/x"));
    assert_int_equal(reply_errno(c, NULL, 0), ENOTDIR);
    cl_stat(c, ++id, 2, "/");
    assert_int_equal(reply_errno(c, text, sizeof(text)), EPROTO);
    assert_string_equal(text, "malformed STAT");
}

/* ---- LIST ---- */

static void test_list(void **state)
{
    static const char *const odd[] = {"a b", "new\nline", "\xff\xfe", "-rf", "..."};
    enum { MANY = 3000 };
    struct client *c = *state;
    struct cl_reply a;
    char name[300];
    size_t n = 0;

    assert_int_equal(mkdir(in_dir("l"), 0700), 0);
    cl_path(c, PV_MSG_LIST, ++id, in_dir("l"));
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, 0);
    assert_int_equal(a.data[0].n, 0);
    cl_reply_free(&a);
    for (size_t i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "l/%s", odd[i]);
        make_file(name, "");
        n += strlen(odd[i]) + 1;
    }
    for (int i = 0; i < MANY; i++) { /* more than one frame can hold */
        n += (size_t)snprintf(name, sizeof(name), "l/%0200d", i) - 1;
        make_file(name, "");
    }
    cl_path(c, PV_MSG_LIST, ++id, in_dir("l"));
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, MANY + 5);
    assert_int_equal(a.data[0].n, n);
    assert_int_equal(a.data[0].p[n - 1], 0);
    for (size_t i = 0; i < 5; i++)
        assert_non_null(memmem(a.data[0].p, n, odd[i], strlen(odd[i]) + 1));
    cl_reply_free(&a);
    cl_path(c, PV_MSG_LIST, ++id, in_dir("l/-rf"));
    assert_int_equal(reply_errno(c, name, sizeof(name)), ENOTDIR);
    assert_non_null(strstr(name, "list '"));
    cl_path(c, PV_MSG_LIST, ++id, in_dir("l/none"));
    assert_int_equal(reply_errno(c, NULL, 0), ENOENT);
    assert_int_equal(remove_tree(c, in_dir("l")), 0);
    assert_false(is_there(in_dir("l")));
}

/* ---- FILE_OP ---- */

static void test_mkdir(void **state)
{
    struct client *c = *state;

    umask(077); /* the agent sets its own to 0 */
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 03751, 0, in_dir("m"), ""), 0);
    assert_int_equal(mode_of(in_dir("m")), 03751);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 0, in_dir("m"), ""), EEXIST);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 0, in_dir("m/no/dir"), ""), ENOENT);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0700, 1, in_dir("m//a/./b/"), ""), 0);
    assert_int_equal(mode_of(in_dir("m/a")), 0755);
    assert_int_equal(mode_of(in_dir("m/a/b")), 0700);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 1, in_dir("m/a/b"), ""), 0);
    assert_int_equal(mode_of(in_dir("m/a/b")), 0700); /* an existing one keeps its mode */
    assert_int_equal(symlink("a", in_dir("m/link")), 0);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 1, in_dir("m/link/c"), ""), 0);
    assert_true(is_there(in_dir("m/a/c")));
    make_file("m/file", "");
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 1, in_dir("m/file"), ""), ENOTDIR);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 1, in_dir("m/file/x"), ""), ENOTDIR);
    assert_int_equal(symlink("nowhere", in_dir("m/dangling")), 0);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 1, in_dir("m/dangling"), ""), EEXIST);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 010000, 0, in_dir("n"), ""), EPROTO);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 2, in_dir("n"), ""), EPROTO);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 0, in_dir("n"), "x"), EPROTO);
    assert_int_equal(file_op(c, 77, 0, 0, in_dir("n"), ""), EPROTO);
    assert_int_equal(file_op(c, PV_FILE_MKDIR, 0755, 0, "", ""), ENOENT);
    umask(022);
}

static void test_changes(void **state)
{
    struct client *c = *state;
    char target[64] = "", text[512];
    struct stat st;

    make_file("c-file", "x");
    assert_int_equal(file_op(c, PV_FILE_RENAME, 0, 0, in_dir("c-file"), in_dir("c-new")), 0);
    assert_true(is_there(in_dir("c-new")) && !is_there(in_dir("c-file")));
    cl_file_op(c, ++id, PV_FILE_RENAME, 0, 0, in_dir("c-file"), in_dir("c-x"));
    assert_int_equal(reply_errno(c, text, sizeof(text)), ENOENT);
    assert_non_null(strstr(text, "/c-file'"));
    assert_non_null(strstr(text, "/c-x'"));
    assert_int_equal(file_op(c, PV_FILE_SYMLINK, 0, 0, in_dir("c-link"), "any/../target"), 0);
    assert_int_equal(readlink(in_dir("c-link"), target, sizeof(target) - 1), 13);
    assert_string_equal(target, "any/../target");
    assert_int_equal(file_op(c, PV_FILE_SYMLINK, 0, 0, in_dir("c-link"), "other"), EEXIST);
    assert_int_equal(file_op(c, PV_FILE_CHMOD, 04610, 0, in_dir("c-new"), ""), 0);
    assert_int_equal(mode_of(in_dir("c-new")), 04610);
    assert_int_equal(file_op(c, PV_FILE_CHMOD, 0644, 0, in_dir("c-link"), ""), ENOENT);
    assert_int_equal(file_op(c, PV_FILE_CHOWN, UINT32_MAX, UINT32_MAX, in_dir("c-new"), ""), 0);
    if (geteuid() == 0) {
        assert_int_equal(file_op(c, PV_FILE_CHOWN, 12, 34, in_dir("c-new"), ""), 0);
        assert_int_equal(file_op(c, PV_FILE_CHOWN, UINT32_MAX, 35, in_dir("c-new"), ""), 0);
        assert_int_equal(stat(in_dir("c-new"), &st), 0);
        assert_true(st.st_uid == 12 && st.st_gid == 35);
    }
    assert_int_equal(file_op(c, PV_FILE_REMOVE, 0, 0, in_dir("c-link"), ""), 0);
    assert_int_equal(file_op(c, PV_FILE_REMOVE, 0, 0, in_dir("c-new"), ""), 0);
    assert_int_equal(file_op(c, PV_FILE_REMOVE, 0, 0, in_dir("c-new"), ""), ENOENT);
    assert_int_equal(mkdir(in_dir("c-dir"), 0700), 0);
    make_file("c-dir/x", "");
    assert_int_equal(file_op(c, PV_FILE_REMOVE, 0, 0, in_dir("c-dir"), ""), ENOTEMPTY);
    assert_int_equal(file_op(c, PV_FILE_REMOVE, 0, 0, in_dir("c-dir/x"), ""), 0);
    assert_int_equal(file_op(c, PV_FILE_REMOVE, 0, 0, in_dir("c-dir"), ""), 0);
    assert_false(is_there(in_dir("c-dir")));
}

/* ---- REMOVE_TREE ---- */

static void test_remove_tree(void **state)
{
    enum { DEEP = 2000 };
    struct client *c = *state;
    char text[512], name[64];
    int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(mkdir(in_dir("keep"), 0700), 0);
    make_file("keep/me", "kept");
    assert_int_equal(mkdir(in_dir("t"), 0700), 0);
    assert_int_equal(symlink("../keep", in_dir("t/link")), 0);
    assert_int_equal(mkfifo(in_dir("t/fifo"), 0600), 0);
    assert_int_equal(symlink("t", in_dir("t-link")), 0);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "t/%d", i);
        if (i % 10)
            make_file(name, "");
        else
            assert_int_equal(mkdir(in_dir(name), 0700), 0);
        snprintf(name, sizeof(name), "t/%d/x", i / 10 * 10);
        make_file(name, "");
    }
    assert_int_equal(mkdirat(at, "t/deep", 0700), 0); /* longer than any path may be */
    for (int i = 0, up = openat(at, "t/deep", O_PATH | O_CLOEXEC); i < DEEP; i++) {
        assert_int_equal(mkdirat(up, "deeper", 0700), 0);
        int down = openat(up, "deeper", O_PATH | O_CLOEXEC);

        close(up);
        up = down;
        if (i == DEEP - 1)
            close(up);
    }
    close(at);
    assert_int_equal(remove_tree(c, in_dir("t-link/")), ENOTDIR);
    assert_int_equal(remove_tree(c, in_dir("t-link")), 0); /* the link alone */
    assert_true(is_there(in_dir("t/499")));
    assert_int_equal(remove_tree(c, in_dir("t//")), 0);
    assert_false(is_there(in_dir("t")));
    assert_true(is_there(in_dir("keep/me")));
    assert_int_equal(remove_tree(c, in_dir("keep/me")), 0);
    cl_path(c, PV_MSG_REMOVE_TREE, ++id, in_dir("keep/me"));
    assert_int_equal(reply_errno(c, text, sizeof(text)), ENOENT);
    assert_non_null(strstr(text, "remove '"));
    assert_int_equal(remove_tree(c, in_dir("keep")), 0); /* empty */
    assert_int_equal(remove_tree(c, "/"), EBUSY);
    assert_int_equal(remove_tree(c, "//"), EBUSY);
    assert_int_equal(remove_tree(c, ""), ENOENT);
    assert_int_equal(remove_tree(c, in_dir(".")), EINVAL);
    assert_int_equal(remove_tree(c, in_dir("..")), ENOTEMPTY);
    assert_true(is_there(dir));
    assert_int_equal(remove_tree(c, "/proc"), EBUSY); /* a mount point, before anything in it */
}

/* ---- parts of files ---- */

static void expect_part(struct client *c, const char *path, uint64_t offset, uint64_t length,
                        const char *want)
{
    struct cl_reply a;

    cl_read_part(c, ++id, path, offset, length);
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, strlen(want));
    assert_int_equal(a.data[0].n, strlen(want));
    if (*want)
        assert_memory_equal(a.data[0].p, want, strlen(want));
    cl_reply_free(&a);
}

static void append(struct client *c, const char *path, const char *text)
{
    cl_write_flags(c, ++id, PV_MODE_KEEP, PV_WRITE_APPEND, path);
    if (*text)
        cl_data(c, PV_MSG_WDATA, id, text, strlen(text));
    cl_data(c, PV_MSG_WDATA, id, "", 0);
    assert_int_equal(reply_errno(c, NULL, 0), 0);
}

static void test_parts(void **state)
{
    struct client *c = *state;
    const char *path = in_dir("p");
    static char big[300000];
    struct cl_reply a;
    struct stat st;

    make_file("p", "0123456789");
    expect_part(c, path, 0, PV_READ_ALL, "0123456789");
    expect_part(c, path, 3, PV_READ_ALL, "3456789");
    expect_part(c, path, 3, 4, "3456");
    expect_part(c, path, 0, 0, "");
    expect_part(c, path, 8, 100, "89");
    expect_part(c, path, 10, 1, "");
    expect_part(c, path, UINT64_C(1) << 62, 1, "");
    append(c, path, "ab");
    append(c, path, "");
    expect_part(c, path, 9, PV_READ_ALL, "9ab");
    append(c, in_dir("p2"), "new");
    expect_part(c, in_dir("p2"), 0, PV_READ_ALL, "new");
    memset(big, 'b', sizeof(big));
    cl_write_flags(c, ++id, 0600, PV_WRITE_APPEND, path);
    for (size_t i = 0; i < 5; i++)
        cl_data(c, PV_MSG_WDATA, id, big, sizeof(big) / 5);
    cl_data(c, PV_MSG_WDATA, id, "", 0);
    assert_int_equal(reply_errno(c, NULL, 0), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 12 + sizeof(big));
    assert_int_equal(st.st_mode & 07777, 0600);
    cl_read_part(c, ++id, path, 10, sizeof(big));
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.data[0].n, sizeof(big));
    assert_memory_equal(a.data[0].p, "abbb", 4);
    cl_reply_free(&a);
    cl_read_part(c, ++id, path, UINT64_MAX, 1);
    assert_int_equal(reply_errno(c, NULL, 0), EPROTO);
    cl_write_flags(c, ++id, 0600, 2, path);
    assert_int_equal(reply_errno(c, NULL, 0), EPROTO);
}

/* ---- memory ---- */

static uint64_t alloc(struct client *c, uint64_t size, uint32_t flags)
{
    struct cl_reply a;
    uint64_t value;

    cl_mem_alloc(c, ++id, size, flags);
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_OK);
    value = a.value;
    cl_reply_free(&a);
    return value;
}

static uint32_t mem_read(struct client *c, uint64_t at, uint64_t n, uint8_t *to)
{
    struct cl_reply a;
    uint32_t e;

    cl_u64s(c, PV_MSG_MEM_READ, ++id, (const uint64_t[]){at, n}, 2);
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    e = a.errnum;
    assert_int_equal(a.type, e ? PV_MSG_ERROR : PV_MSG_OK);
    if (!e)
        assert_true(a.value == n && a.data[0].n == n);
    if (!e && n)
        memcpy(to, a.data[0].p, n);
    cl_reply_free(&a);
    return e;
}

static uint32_t mem_write(struct client *c, uint64_t at, const uint8_t *p, size_t n)
{
    cl_u64s(c, PV_MSG_MEM_WRITE, ++id, &at, 1);
    for (size_t i = 0; i < n; i += PV_CHUNK)
        cl_data(c, PV_MSG_WDATA, id, p + i, n - i < PV_CHUNK ? n - i : PV_CHUNK);
    cl_data(c, PV_MSG_WDATA, id, "", 0);
    return reply_errno(c, NULL, 0);
}

static uint32_t mem_free(struct client *c, uint64_t at)
{
    cl_u64s(c, PV_MSG_MEM_FREE, ++id, &at, 1);
    return reply_errno(c, NULL, 0);
}

static void test_memory(void **state)
{
    enum { SIZE = 700001 };
    struct client *c = *state;
    static uint8_t data[SIZE], back[SIZE + 4096];
    uint64_t at = alloc(c, SIZE, PV_MEM_SHARED), end = at + (SIZE + 4095) / 4096 * 4096, own = alloc(c, 1, 0);

    assert_int_equal(at % 4096, 0);
    assert_int_equal(mem_read(c, at, SIZE, back), 0);
    assert_memory_equal(back, data, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    assert_int_equal(mem_write(c, at, data, SIZE), 0);
    assert_int_equal(mem_read(c, at + 3, SIZE - 3, back), 0);
    assert_memory_equal(back, data + 3, SIZE - 3);
    assert_int_equal(mem_read(c, end - 4, 5, back), EFAULT);
    assert_int_equal(mem_write(c, end - 4, data, 5), EFAULT);
    assert_int_equal(mem_write(c, at - 1, data, 1), EFAULT);
    assert_int_equal(mem_read(c, 0, 1, back), EFAULT);
    assert_int_equal(mem_read(c, UINT64_MAX, 1, back), EFAULT);
    assert_int_equal(mem_read(c, UINT64_C(1) << 63, 8, back), EFAULT);
    assert_int_equal(mem_read(c, at, UINT64_MAX, back), EFAULT);
    assert_int_equal(mem_read(c, 0, 0, back), 0);
    assert_int_equal(mem_free(c, at + 4096), EINVAL);
    assert_int_equal(mem_free(c, own), 0);
    assert_int_equal(mem_free(c, own), EINVAL);
    assert_int_equal(mem_free(c, at), 0);
    assert_int_equal(mem_read(c, at, 1, back), EFAULT);
    cl_mem_alloc(c, ++id, UINT64_C(1) << 48, 0);
    assert_int_equal(reply_errno(c, NULL, 0), ENOMEM);
    cl_mem_alloc(c, ++id, UINT64_MAX, PV_MEM_SHARED);
    assert_int_equal(reply_errno(c, NULL, 0), ENOMEM);
    cl_mem_alloc(c, ++id, 0, 0);
    assert_int_equal(reply_errno(c, NULL, 0), EPROTO);
    cl_mem_alloc(c, ++id, 4096, 2);
    assert_int_equal(reply_errno(c, NULL, 0), EPROTO);
}

/* A system call that closes every descriptor, 0 to 2 too: the connection stays, and commands go on to work. */
static void test_close_all(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_syscall(c, ++id, 0, 436, (const uint64_t[6]){0, UINT32_MAX}, NULL, 0, NULL, 0); /* close_range */
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_SYSRET);
    assert_true(a.value == 0 || (int64_t)a.value == -ENOSYS);
    cl_reply_free(&a);
    cl_sh(c, ++id, 0, 0, "echo fine");
    cl_reply(c, id, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.code, 0);
    assert_memory_equal(a.data[1].p, "fine\n", 5);
    cl_reply_free(&a);
}

#define T(f) cmocka_unit_test_setup_teardown(f, cl_setup, cl_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_stat),        T(test_list),  T(test_mkdir),  T(test_changes),
        T(test_remove_tree), T(test_parts), T(test_memory), T(test_close_all),
    };
    char cmd[128];

    if (argc < 2 || !mkdtemp(dir))
        return 2;
    cl_agent = argv[1];
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    return system(cmd) == 0 ? r : 2;
}
