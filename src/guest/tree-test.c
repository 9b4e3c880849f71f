/* SPDX-License-Identifier: MIT */
/* Push and pull against an agent that lies about its tree; pull must not write outside its destination. */
#include "util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/fake-agent.h"
#include "util/clock.h"
#include "util/path.h"

#define LIMIT (10 * PV_NSEC_PER_SEC)

/* One frame of the agent's reply to a pull. */
struct step {
    char
        what; /* D, F, L: entries; S: a skipped one, errno n; d: data of n bytes; h: hole of n; k: kind n; e: ERROR; o: OK with n */
    const char *name, *target;
    uint64_t n;
    uint32_t mode;
};

static const struct step *steps;
static struct pv_pull pull_opts = {.timeout_ns = LIMIT};
static struct pv_pull_result pulled; /* of the last pull that succeeded */
static char *dir;                    /* holds `out`, and `victim` and `home/victim`, which must not change */

static void assert_err(const struct pv_err *err, enum pv_err_class cls, const char *text)
{
    if (err->cls != cls || !strstr(err->text, text))
        fail_msg("expected class %s with '%s', got class %s: %s", pv_err_class_name(cls), text,
                 pv_err_class_name(err->cls), err->text);
}

static char *in_dir(const char *name)
{
    static char path[8][512];
    static int i;

    i = (i + 1) % 8;
    snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
    return path[i];
}

static void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(pv_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

static void assert_file(const char *path, const char *text)
{
    cleanup_buf struct pv_buf b = {0};
    struct pv_err err = PV_ERR_INIT;

    if (pv_read_file(path, 4096, &b, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(b.len, strlen(text));
    assert_memory_equal(b.data ? b.data : "", text, b.len);
}

static int setup(void **state)
{
    (void)state;
    dir = pv_xstrdup("/tmp/pv-tree-XXXXXX");
    assert_non_null(mkdtemp(dir));
    mkdir(in_dir("home"), 0700);
    put_file(in_dir("home/victim"), "mine");
    put_file(in_dir("victim"), "mine");
    return 0;
}

static int teardown(void **state)
{
    struct stat st;

    (void)state;
    assert_file(in_dir("home/victim"), "mine");
    assert_file(in_dir("victim"), "mine");
    assert_int_equal(stat(in_dir("home"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    pv_rm_rf(dir);
    free(dir);
    return 0;
}

/* ---- pull ---- */

static void send_entry(int fd, uint32_t id, uint32_t kind, const struct step *s)
{
    struct pv_enc e = fake_begin(PV_MSG_ENTRY, id);
    const char *target = s->target ? s->target : "";

    pv_enc_u32(&e, kind);
    pv_enc_u32(&e, s->mode ? s->mode : 0755);
    pv_enc_u64(&e, kind == PV_ENTRY_SKIPPED ? s->n : 0);
    pv_enc_bytes(&e, s->name, strlen(s->name));
    pv_enc_bytes(&e, target, strlen(target));
    fake_send(fd, &e);
}

static void agent_send_tree(int fd)
{
    static char zeros[65536];
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_TREE_GET);
    memset(zeros, 'z', sizeof(zeros));
    for (const struct step *s = steps; s->what; s++) {
        switch (s->what) {
        case 'd':
            e = fake_begin(PV_MSG_DATA, r.id);
            pv_enc_bytes(&e, zeros, s->n);
            fake_send(fd, &e);
            break;
        case 'h':
            e = fake_begin(PV_MSG_HOLE, r.id);
            pv_enc_u64(&e, s->n);
            fake_send(fd, &e);
            break;
        case 'e':
            fake_error(fd, r.id, EIO, "read 'x'");
            break;
        case 'o':
            fake_ok(fd, r.id, s->n);
            break;
        default:
            send_entry(fd, r.id,
                       s->what == 'D'   ? PV_ENTRY_DIR
                       : s->what == 'F' ? PV_ENTRY_FILE
                       : s->what == 'L' ? PV_ENTRY_LINK
                       : s->what == 'S' ? PV_ENTRY_SKIPPED
                                        : (uint32_t)s->n,
                       s);
        }
    }
    fake_serve_pings(fd);
}

static int pull_to(const struct step *what, const char *to, struct pv_err *err)
{
    static const fake_script scripts[] = {agent_send_tree, fake_serve_pings};
    struct pv_guest *g;
    int r;

    steps = what;
    pv_pull_result_fini(&pulled);
    g = fake_new(scripts, 2);
    r = pv_agent_pull(pv_guest_agent(g), "/x", in_dir(to), &pull_opts, &pulled, err);
    if (pv_agent_ping(pv_guest_agent(g), "x", 1, LIMIT, NULL) < 0)
        fail_msg("the guest is not usable after a pull");
    fake_free(g);
    return r;
}

static void hostile_pulls(void **state)
{
    static const struct {
        struct step s[8];
        const char *text;
    } bad[] = {
        {{{'D', ""}, {'F', "../victim"}, {'d', .n = 4}}, "leads out"},
        {{{'D', ""}, {'F', "a/../../victim"}}, "leads out"},
        {{{'D', ""}, {'D', "a"}, {'F', "a/.."}}, "leads out"},
        {{{'D', ""}, {'F', "."}}, "leads out"},
        {{{'D', ""}, {'F', "a/./b"}}, "leads out"},
        {{{'D', ""}, {'F', "/etc/victim"}}, "leads out"},
        {{{'D', ""}, {'D', "a/"}}, "leads out"},
        {{{'D', ""}, {'D', "a"}, {'F', "a//b"}}, "leads out"},
        {{{'D', ""}, {'L', "a", "../home"}, {'F', "a/victim"}}, "in no directory"},
        {{{'D', ""}, {'L', "a", "../home"}, {'F', "a/victim"}, {'d', .n = 4}}, "in no directory"},
        {{{'D', ""}, {'D', "a"}, {'L', "a/b", "../../home"}, {'F', "a/b/victim"}}, "in no directory"},
        {{{'D', ""}, {'F', "a"}, {'F', "a/b"}}, "in no directory"},
        {{{'D', ""}, {'F', "no/where"}}, "in no directory"},
        {{{'L', "", "home"}, {'F', "victim"}}, "no directory"},
        {{{'F', ""}, {'F', "a"}}, "no directory"},
        {{{'F', "a"}}, "itself first"},
        {{{'D', ""}, {'D', ""}}, "twice"},
        {{{'d', .n = 4}}, "no file"},
        {{{'D', ""}, {'d', .n = 4}}, "no file"},
        {{{'D', ""}, {'L', "a", "b"}, {'d', .n = 4}}, "no file"},
        {{{'D', ""}, {'h', .n = 4}}, "no file"},
        {{{'F', ""}, {'h', .n = UINT64_MAX}}, "more than a file can hold"},
        {{{'F', ""}, {'h', .n = INT64_MAX}, {'d', .n = 1}}, "more than a file can hold"},
        {{{'k', "", .n = 0}}, "no known kind"},
        {{{'D', ""}, {'k', "a", .n = 77}}, "no known kind"},
        {{{'D', ""}, {'F', "a", "target"}}, "malformed"},
        {{{'D', ""}, {'L', "a", ""}}, "malformed"},
        {{{'D', ""}, {'F', "a", .mode = 010000}}, "malformed"},
        {{{'S', ""}}, "only send or fail"},
        {{{'D', ""}, {'S', "../victim", .n = 13}}, "leads out"},
        {{{'F', ""}, {'S', "a", .n = 13}}, "only send or fail"},
        {{{'D', ""}, {'S', "a", .n = 4096}}, "malformed"},
        {{{'D', ""}, {'o', .n = 2}}, "says 2 entries and sent 1"},
        {{{'o', .n = 0}}, "sent nothing"},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        struct pv_err err = PV_ERR_INIT;

        assert_int_equal(pull_to(bad[i].s, "out", &err), -1);
        assert_err(&err, PV_E_PROTOCOL, bad[i].text);
        pv_rm_rf(in_dir("out"));
        assert_file(in_dir("victim"), "mine");
    }
}

/* Names above the length limit, and a tree above the depth limit. */
static void long_and_deep(void **state)
{
    static char name[PV_PATH_MAX], names[300][604];
    static struct step deep[302] = {{'D', ""}};
    struct step lengthy[] = {{'D', ""}, {'F', name}, {0}};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    memset(name, 'n', 256);
    assert_int_equal(pull_to(lengthy, "out", &err), -1);
    assert_err(&err, PV_E_PROTOCOL, "too long");
    for (size_t i = 0; i < 300; i++) {
        for (size_t j = 0; j <= i; j++)
            memcpy(names[i] + 2 * j, "d/", 2);
        names[i][2 * i + 1] = '\0';
        deep[i + 1] = (struct step){'D', names[i]};
    }
    assert_int_equal(pull_to(deep, "out", &err), -1);
    assert_err(&err, PV_E_PROTOCOL, "nested");
}

/* Pull replaces symbolic links and files that exist at the destination; it follows no link and writes through
 * no hard link. */
static void existing_entries_replaced(void **state)
{
    static const struct step tree[] = {
        {'D', ""},  {'F', "a"},           {'d', .n = 3}, {'D', "sub"}, {'F', "sub/b"},
        {'F', "c"}, {'L', "victim", "x"}, {'o', .n = 6}, {0}};
    static const struct step file[] = {{'F', ""}, {'d', .n = 2}, {'o', .n = 1}, {0}};
    struct pv_err err = PV_ERR_INIT;
    struct stat st;

    (void)state;
    mkdir(in_dir("out"), 0750);
    assert_int_equal(symlink("../victim", in_dir("out/a")), 0);
    assert_int_equal(symlink("../home", in_dir("out/sub")), 0);
    assert_int_equal(link(in_dir("victim"), in_dir("out/c")), 0);
    if (pull_to(tree, "out", &err) < 0)
        fail_msg("%s", err.text);
    assert_file(in_dir("out/a"), "zzz");
    assert_file(in_dir("out/sub/b"), "");
    assert_file(in_dir("out/c"), "");
    assert_file(in_dir("home/victim"), "mine");
    assert_int_equal(stat(in_dir("out"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750); /* an existing directory keeps its mode */
    /* The destination itself is a symbolic link, as an earlier pull may have made. */
    assert_int_equal(symlink("home/victim", in_dir("link")), 0);
    assert_int_equal(pull_to(file, "link", &err), 0);
    assert_file(in_dir("link"), "zz");
    assert_int_equal(symlink("home", in_dir("dirlink")), 0);
    assert_int_equal(pull_to(tree, "dirlink", &err), -1);
    assert_err(&err, PV_E_HOST, "Not a directory");
    assert_int_equal(pull_to(tree, "dirlink/", &err), -1);
    assert_int_equal(pull_to(file, "home", &err), -1);
    assert_err(&err, PV_E_HOST, "Is a directory");
    assert_int_equal(pull_to(file, "nowhere/x", &err), -1);
    assert_err(&err, PV_E_HOST, "No such file");
}

static void modes_and_holes(void **state)
{
    static const struct step tree[] = {{'D', "", .mode = 0555},
                                       {'D', "d", .mode = 07777},
                                       {'F', "d/suid", .mode = 06755},
                                       {'h', .n = 1 << 20},
                                       {'d', .n = 5},
                                       {'h', .n = 64 << 20},
                                       {'F', "ro", .mode = 0400},
                                       {'d', .n = 1},
                                       {'L', "l", "/etc/../\n"},
                                       {'o', .n = 5},
                                       {0}};
    struct pv_err err = PV_ERR_INIT;
    char target[64];
    struct stat st;

    (void)state;
    umask(0);
    if (pull_to(tree, "out", &err) < 0)
        fail_msg("%s", err.text);
    umask(022);
    assert_int_equal(stat(in_dir("out"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0555);
    assert_int_equal(stat(in_dir("out/d"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 01777);
    assert_int_equal(stat(in_dir("out/d/suid"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(st.st_size, (1 << 20) + 5 + (64 << 20));
    assert_true(st.st_blocks * 512 < 1 << 20);
    assert_int_equal(readlink(in_dir("out/l"), target, sizeof(target)), 9);
    assert_int_equal(stat(in_dir("out/ro"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    chmod(in_dir("out"), 0755);
}

/* A write error of the host or a read error of the guest ends the pull, not the session; the error names the
 * incomplete file. */
static void incomplete_pulls(void **state)
{
    static const struct step large[] = {
        {'D', ""}, {'F', "big"}, {'d', .n = 50000}, {'d', .n = 50000}, {'d', .n = 50000}, {'o', .n = 2}, {0}};
    static const struct step fails[] = {{'D', ""}, {'F', "half"}, {'d', .n = 10}, {'e'}, {0}};
    struct rlimit old, small;
    struct pv_err err = PV_ERR_INIT;
    int r;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 65536;
    setrlimit(RLIMIT_FSIZE, &small);
    r = pull_to(large, "out", &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(r, -1);
    assert_err(&err, PV_E_HOST, "out/big': File too large");
    assert_err(&err, PV_E_HOST, "out/big' is incomplete");
    assert_int_equal(pull_to(fails, "out", &err), -1);
    assert_err(&err, PV_E_GUEST, "read 'x'");
    assert_err(&err, PV_E_GUEST, "out/half' is incomplete");
}

/* Pull lists entries that the guest does not send, and removes a file that it cannot read to its end. */
static void skipped_entries(void **state)
{
    static const struct step tree[] = {{'D', ""},
                                       {'S', "pipe", .mode = S_IFIFO | 0600},
                                       {'D', "d"},
                                       {'F', "d/half"},
                                       {'d', .n = 10},
                                       {'S', "d/half", .mode = S_IFREG, .n = EIO},
                                       {'F', "d/whole"},
                                       {'d', .n = 3},
                                       {'S', "d", .mode = S_IFDIR, .n = EACCES},
                                       {'S', "odd", .mode = 0170000 | 0777, .n = 1},
                                       {'o', .n = 8},
                                       {0}};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    if (pull_to(tree, "out", &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(pulled.entries, 4);
    assert_int_equal(pulled.n_skipped, 4);
    assert_int_equal(pulled.skipped_in_all, 4);
    assert_string_equal(pulled.skipped[0].path, "pipe");
    assert_string_equal(pulled.skipped[0].type, "fifo");
    assert_int_equal(pulled.skipped[0].errnum, 0);
    assert_string_equal(pulled.skipped[1].path, "d/half");
    assert_int_equal(pulled.skipped[1].errnum, EIO);
    assert_string_equal(pulled.skipped[2].type, "dir");
    assert_string_equal(pulled.skipped[3].type, "?");
    assert_file(in_dir("out/d/whole"), "zzz");
    assert_int_equal(access(in_dir("out/d/half"), F_OK), -1);
    assert_int_equal(access(in_dir("out/pipe"), F_OK), -1);

    pull_opts.strict = true;
    assert_int_equal(pull_to(tree, "out", &err), -1);
    assert_err(&err, PV_E_GUEST, "'pipe' cannot be copied: fifo (strict)");
    pull_opts.strict = false;
}

/* A total of bytes and of entries: the error names the option, and the session goes on. */
static void pull_limits(void **state)
{
    static const struct step tree[] = {{'D', ""},           {'F', "a"},      {'d', .n = 600}, {'F', "b"},
                                       {'h', .n = 1 << 30}, {'d', .n = 400}, {'o', .n = 3},   {0}};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    pull_opts.max_size = 999;
    assert_int_equal(pull_to(tree, "out", &err), -1);
    assert_err(&err, PV_E_GUEST, "more bytes than max_size, which is 999");
    assert_err(&err, PV_E_GUEST, "out/b' is incomplete");
    pull_opts.max_size = 1000; /* holes do not count */
    pull_opts.max_entries = 2;
    assert_int_equal(pull_to(tree, "out", &err), -1);
    assert_err(&err, PV_E_GUEST, "more entries than max_entries, which is 2");
    pull_opts.max_entries = 3;
    if (pull_to(tree, "out", &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(pulled.size, 1000);
    pull_opts = (struct pv_pull){.timeout_ns = LIMIT};
}

/* The modes of copies are those of the guest but for the bits of the umask. */
static void umask_holds(void **state)
{
    static const struct step tree[] = {
        {'D', "", .mode = 0777}, {'F', "a", .mode = 0666}, {'D', "d", .mode = 01777}, {'o', .n = 3}, {0}};
    mode_t old = umask(027);
    struct pv_err err = PV_ERR_INIT;
    struct stat st;

    (void)state;
    if (pull_to(tree, "out", &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(umask(old), 027);
    assert_int_equal(stat(in_dir("out"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(stat(in_dir("out/a"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(stat(in_dir("out/d"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 01750);
}

/* ---- push ---- */

static int shrink_at; /* entries after which the agent cuts in_dir("src/big") */

/* Writes each entry that it receives as one line to in_dir("log"). */
static void agent_recv_tree(int fd)
{
    struct fake_req r;
    uint64_t entries = 0, holes = 0, bytes = 0;
    FILE *log = fopen(in_dir("log"), "w");
    uint32_t id;

    fake_expect(fd, &r, PV_MSG_TREE_PUT);
    id = r.id;
    for (;;) {
        char name[PV_PATH_MAX], target[PV_PATH_MAX];
        uint32_t kind, mode;
        size_t n;

        fake_get(fd, &r);
        FAKE_CHECK(r.id == id);
        if (r.type == PV_MSG_CANCEL) {
            fake_error(fd, id, ECANCELED, "cancelled");
            break;
        } else if (r.type == PV_MSG_WDATA) {
            pv_dec_bytes(&r.d, &n);
            FAKE_CHECK(n > 0 && n <= PV_CHUNK && pv_dec_done(&r.d));
            bytes += n;
        } else if (r.type == PV_MSG_WHOLE) {
            holes += pv_dec_u64(&r.d);
        } else {
            FAKE_CHECK(r.type == PV_MSG_WENTRY);
            kind = pv_dec_u32(&r.d);
            mode = pv_dec_u32(&r.d);
            pv_dec_u64(&r.d);
            pv_dec_str(&r.d, name, sizeof(name));
            pv_dec_str(&r.d, target, sizeof(target));
            FAKE_CHECK(pv_dec_done(&r.d));
            if (kind == PV_ENTRY_END) {
                fake_ok(fd, id, entries);
                break;
            }
            fprintf(log, "%u %o [%s] [%s]\n", kind, mode, name, target);
            if (++entries == (uint64_t)shrink_at)
                FAKE_CHECK(truncate(in_dir("src/big"), 4096) == 0);
        }
        free(r.payload);
    }
    fprintf(log, "bytes %d holes %d\n", (int)bytes, (int)holes);
    fclose(log);
    fake_serve_pings(fd);
}

static int push_from(const char *from, struct pv_err *err)
{
    static const fake_script scripts[] = {agent_recv_tree, fake_serve_pings};
    struct pv_guest *g = fake_new(scripts, 2);
    int r = pv_agent_push(pv_guest_agent(g), in_dir(from), "/x", LIMIT, err);

    if (pv_agent_ping(pv_guest_agent(g), "x", 1, LIMIT, NULL) < 0)
        fail_msg("the guest is not usable after a push");
    fake_free(g);
    return r;
}

static void push_trees(void **state)
{
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    shrink_at = 0;
    put_file(in_dir("src"), "hello");
    chmod(in_dir("src"), 04640);
    assert_int_equal(symlink("src", in_dir("alias")), 0);
    if (push_from("alias", &err) < 0) /* a symbolic link as the source is followed */
        fail_msg("%s", err.text);
    assert_file(in_dir("log"), "2 4640 [] []\nbytes 5 holes 0\n");
    unlink(in_dir("src"));
    mkdir(in_dir("src"), 0755);
    assert_int_equal(push_from("src", &err), 0);
    assert_file(in_dir("log"), "1 755 [] []\nbytes 0 holes 0\n");
    mkdir(in_dir("src/a"), 0700);
    assert_int_equal(symlink("/nowhere\n\xff", in_dir("src/a/l")), 0);
    assert_int_equal(push_from("src", &err), 0);
    assert_file(in_dir("log"), "1 755 [] []\n1 700 [a] []\n3 777 [a/l] [/nowhere\n\xff]\nbytes 0 holes 0\n");
}

static void sparse_push(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    int fd;

    (void)state;
    shrink_at = 0;
    put_file(in_dir("src"), "");
    fd = open(in_dir("src"), O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, 8 << 20), 0);
    assert_int_equal(pwrite(fd, "x", 1, 4 << 20), 1);
    close(fd);
    assert_int_equal(push_from("src", &err), 0);
    assert_file(in_dir("log"), "2 644 [] []\nbytes 4096 holes 8384512\n");
    assert_int_equal(truncate(in_dir("src"), 4 << 20), 0);
    assert_int_equal(push_from("src", &err), 0);
    assert_file(in_dir("log"), "2 644 [] []\nbytes 0 holes 4194304\n");
}

static void pushes_that_fail(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    char *big = pv_xmalloc((8 << 20) + 1);
    struct pv_guest *g;

    (void)state;
    shrink_at = 0;
    mkdir(in_dir("src"), 0755);
    assert_int_equal(mkfifo(in_dir("src/pipe"), 0600), 0);
    assert_int_equal(push_from("src", &err), -1);
    assert_err(&err, PV_E_HOST, "src/pipe' is a fifo");
    unlink(in_dir("src/pipe"));
    memset(big, 'b', 8 << 20);
    big[8 << 20] = '\0';
    put_file(in_dir("src/big"), big);
    free(big);
    shrink_at = 2;
    assert_int_equal(push_from("src", &err), -1);
    assert_err(&err, PV_E_HOST, "src/big': 8388608 bytes were expected");
    g = fake_new(NULL, 0); /* fails before the agent is asked */
    assert_int_equal(pv_agent_push(pv_guest_agent(g), in_dir("nothing"), "/x", LIMIT, &err), -1);
    assert_err(&err, PV_E_USAGE, "nothing");
    fake_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hostile_pulls, setup, teardown),
        cmocka_unit_test_setup_teardown(long_and_deep, setup, teardown),
        cmocka_unit_test_setup_teardown(existing_entries_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(modes_and_holes, setup, teardown),
        cmocka_unit_test_setup_teardown(incomplete_pulls, setup, teardown),
        cmocka_unit_test_setup_teardown(skipped_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(pull_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(umask_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(push_trees, setup, teardown),
        cmocka_unit_test_setup_teardown(sparse_push, setup, teardown),
        cmocka_unit_test_setup_teardown(pushes_that_fail, setup, teardown),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
