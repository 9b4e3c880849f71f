/* SPDX-License-Identifier: MIT */
/*
 * Files of CACHE/kernels, a directory with mode 0700:
 *
 *     DEV-INODE.src   "provium-source 1 SIZE MTIME CTIME HASH": the BLAKE2b of the bzImage that had this
 *                     inode, size and times.  Saves reading and hashing 14 MB (18 ms) at every boot.
 *     HASH.vmlinux    the unpacked payload of the bzImage with that hash
 *     HASH.ok         "provium-kernel 1 vmlinux LENGTH SUM IDENTITY", or "provium-kernel 1 none REASON" for
 *                     a bzImage without a vmlinux that QEMU could start.  Its mtime is the last use.
 *     lock            held while unpacking, so that processes that start together unpack once
 *
 * IDENTITY is the host's boot ID and the vmlinux' device, inode, size, mtime and ctime at the last check of
 * its sum.  A file with the same identity has the same content: no write, truncation or rename keeps the
 * ctime (setting it takes setting the clock).  After a change, or after a reboot of the host (which may have
 * lost blocks), the file is summed again (about 60 ms for 45 MB) and made anew if the sum is wrong.
 *
 * A ctime proves this only once a later write would get another one; until then a file is summed at each use
 * (git calls such entries racy).
 */
#include "image/kcache.h"

#include <blake2.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "image/decompress.h"
#include "image/elf.h"
#include "image/kcachefile.h"
#include "image/kprune.h"
#include "image/magic.h"
#include "image/newfile.h"
#include "util/cachedir.h"
#include "util/clock.h"
#include "util/digest.h"
#include "util/err.h"
#include "util/host.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"

enum {
    IDENT_TEXT = PV_KCACHE_IDENT,
    BZIMAGE_MAX = 512 << 20,
    USE_STAMP_S = 600, /* resolution of the time of the last use: one utimensat in ten minutes */
};
#define VMLINUX_MAX (UINT64_C(2) << 30)
/* Unpacking a kernel takes seconds; its process may be stopped. */
#define LOCK_LIMIT (30 * PV_NSEC_PER_SEC)

struct cache {
    const struct pv_kcache_src *src;
    struct pv_cachedir dir;
    char hash[PV_DIGEST_TEXT];
    char *vmlinux, *ok; /* names in dir */
    char *data;         /* the whole bzImage; NULL until read_source */
    int fd;             /* the vmlinux that was checked or made; -1: none */
};

static void cache_fini(struct cache *c)
{
    pv_close(&c->fd);
    pv_cachedir_close(&c->dir);
    free(c->vmlinux);
    free(c->ok);
    free(c->data);
}

/* ---- identity of a file ---- */

/* True if a write from now on would change the ctime: file systems' clocks tick every 1-10 ms or 1-2 s. */
static bool is_settled(const struct stat *st)
{
    int64_t margin = st->st_ctim.tv_nsec ? 100 * PV_NSEC_PER_MSEC : 2500 * PV_NSEC_PER_MSEC;

    return pv_wall_now() - pv_timespec_ns(&st->st_ctim) > margin;
}

/* "SIZE MTIME CTIME" */
static void times_text(const struct stat *st, char *text, size_t cap)
{
    snprintf(text, cap, "%lld %" PRId64 " %" PRId64, (long long)st->st_size, pv_timespec_ns(&st->st_mtim),
             pv_timespec_ns(&st->st_ctim));
}

/* False without a boot ID, and while the ctime is too young to prove anything. */
static bool file_identity(const struct stat *st, char ident[IDENT_TEXT])
{
    char boot[PV_BOOT_ID_LEN + 1], times[96];

    if (!is_settled(st) || !pv_boot_id(boot))
        return false;
    times_text(st, times, sizeof(times));
    snprintf(ident, IDENT_TEXT, "%s/%llx/%llu/%s", boot, (unsigned long long)st->st_dev,
             (unsigned long long)st->st_ino, times);
    for (char *p = ident; *p; p++)
        if (*p == ' ')
            *p = '/';
    return true;
}

static int write_small(const struct pv_cachedir *dir, const char *name, const char *text, struct pv_err *err)
{
    cleanup_newfile struct pv_newfile f = PV_NEWFILE_INIT;

    if (pv_newfile_open(&f, dir, err) < 0)
        return -1;
    if (pv_write_all(f.fd, text, strlen(text)) < 0)
        return pv_err_sys(err, errno, "cannot write '%s/%s'", dir->path, name);
    return pv_newfile_commit(&f, name, false, err); /* no fsync: a reader rejects an empty file */
}

/* ---- the hash of the bzImage ---- */

static int read_source(struct cache *c, struct pv_err *err)
{
    size_t size = (size_t)c->src->st.st_size;
    ssize_t n;

    if (c->data)
        return 0;
    if (c->src->st.st_size > BZIMAGE_MAX)
        return pv_err_set(err, PV_E_USAGE, "too large for a bzImage");
    c->data = pv_xmalloc(size);
    n = pv_pread_all(c->src->fd, c->data, size, 0);
    if (n != c->src->st.st_size)
        return pv_err_sys(err, n < 0 ? errno : EIO, "cannot read the kernel");
    return 0;
}

/* True if src->st still describes the open file, and so the bytes that were read from it. */
static bool source_unchanged(const struct pv_kcache_src *src)
{
    struct stat now;
    char a[96], b[96];

    if (fstat(src->fd, &now) < 0)
        return false;
    times_text(&src->st, a, sizeof(a));
    times_text(&now, b, sizeof(b));
    return !strcmp(a, b);
}

static int hash_source(struct cache *c, struct pv_err *err)
{
    const struct stat *st = &c->src->st;
    cleanup_free char *path =
        pv_xasprintf("%llx-%llu.src", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    cleanup_buf struct pv_buf have = {0};
    cleanup_free char *want = NULL;
    char times[96];

    times_text(st, times, sizeof(times));
    want = pv_xasprintf("provium-source 1 %s ", times);
    if (pv_cachedir_read(&c->dir, path, 1024, &have, NULL) == 0 &&
        pv_kcache_parse_source(have.data, have.len, want, c->hash))
        return 0;
    if (read_source(c, err) < 0)
        return -1;
    pv_digest(c->data, (size_t)st->st_size, c->hash);
    if (is_settled(st) && source_unchanged(c->src)) {
        cleanup_free char *line = pv_xasprintf("%s%s\n", want, c->hash);

        write_small(&c->dir, path, line, NULL); /* a failure only costs the next boot time */
    }
    return 0;
}

/* ---- checking the cached vmlinux ---- */

static int write_ok(struct cache *c, uint64_t length, const char *sum, const struct stat *st,
                    struct pv_err *err)
{
    char ident[IDENT_TEXT] = "-";
    cleanup_free char *line = NULL;

    if (!file_identity(st, ident))
        strcpy(ident, "-");
    line = pv_xasprintf("provium-kernel 1 vmlinux %" PRIu64 " %s %s\n", length, sum, ident);
    return write_small(&c->dir, c->ok, line, err);
}

static void stamp_use(int dir, const char *name)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && time(NULL) - st.st_mtime > USE_STAMP_S)
        utimensat(dir, name, NULL, AT_SYMLINK_NOFOLLOW);
}

enum verdict { ABSENT, GOOD, UNUSABLE };

static enum verdict check_vmlinux(struct cache *c, uint64_t length, const char *sum, const char *ident)
{
    struct pv_err why = PV_ERR_INIT;
    cleanup_close int fd = pv_cachedir_file(&c->dir, c->vmlinux, O_RDONLY, &why);
    char now[IDENT_TEXT], have[PV_DIGEST_TEXT];
    struct stat st;

    if (fd < 0)
        pv_debug("image", "%s", why.text);
    if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != length)
        return ABSENT;
    if (file_identity(&st, now) && !strcmp(now, ident)) {
        stamp_use(c->dir.fd, c->ok);
        c->fd = pv_steal_fd(&fd);
        return GOOD;
    }
    if (pv_digest_fd(fd, have) < 0 || strcmp(have, sum) != 0) {
        pv_debug("image", "'%s/%s' is damaged, making it anew", c->dir.path, c->vmlinux);
        return ABSENT;
    }
    if (is_settled(&st))
        write_ok(c, length, sum, &st, NULL);
    c->fd = pv_steal_fd(&fd);
    return GOOD;
}

static enum verdict look_up(struct cache *c, struct pv_err *err)
{
    cleanup_buf struct pv_buf b = {0};
    struct pv_kcache_ok ok;

    if (pv_cachedir_read(&c->dir, c->ok, 4096, &b, NULL) < 0 || !pv_kcache_parse_ok(&ok, b.data, b.len))
        return ABSENT;
    if (!ok.vmlinux) {
        pv_err_set(err, PV_E_USAGE, "%s", ok.reason);
        stamp_use(c->dir.fd, c->ok);
        return UNUSABLE;
    }
    return check_vmlinux(c, ok.length, ok.sum, ok.ident);
}

/* ---- making the vmlinux ---- */

struct out {
    int fd;
    uint64_t length;
    blake2b_state sum;
};

static int out_sink(void *arg, const void *data, size_t n, struct pv_err *err)
{
    struct out *o = arg;

    if (pv_write_all(o->fd, data, n) < 0)
        return pv_err_sys(err, errno, "cannot write the unpacked kernel");
    blake2b_update(&o->sum, data, n);
    o->length += n;
    return 0;
}

/* Records err, the reason why this bzImage is not used unpacked.  Returns -1. */
static int remember_none(struct cache *c, const struct pv_err *err)
{
    cleanup_free char *line = pv_xasprintf("provium-kernel 1 none %.500s\n", err->text);

    for (char *p = line; p[1]; p++)
        if (*p == '\n')
            *p = ' ';
    write_small(&c->dir, c->ok, line, NULL);
    return -1;
}

static int unpack_payload(struct cache *c, struct out *o, struct pv_err *err)
{
    const struct pv_kcache_src *src = c->src;
    const char *payload, *why;
    size_t n = src->length;
    enum pv_comp comp;

    if (src->offset > (uint64_t)src->st.st_size || n > (uint64_t)src->st.st_size - src->offset || n < 16)
        return pv_err_set(err, PV_E_USAGE, "its payload lies outside the file");
    payload = c->data + src->offset;
    comp = pv_magic_comp(payload, n);
    if (comp == PV_COMP_NONE)
        return pv_err_set(err, PV_E_USAGE, "its payload is %s, no compression that is known",
                          pv_magic_describe(payload, n));
    /* The kernel's build appends the unpacked length to every format but gzip, which has its own. */
    if (comp != PV_COMP_GZIP && !src->whole)
        n -= 4;
    if (pv_decompress(comp, payload, n, VMLINUX_MAX, out_sink, o, err) < 0)
        return -1;
    why = pv_elf_why_not_pvh(o->fd, o->length);
    if (why)
        return pv_err_set(err, PV_E_USAGE, "its payload is %s", why);
    return 0;
}

static int make_vmlinux(struct cache *c, struct pv_err *err)
{
    cleanup_newfile struct pv_newfile f = PV_NEWFILE_INIT;
    struct pv_err why = PV_ERR_INIT;
    struct out o = {0};
    uint8_t sum[PV_DIGEST_BYTES];
    char text[PV_DIGEST_TEXT];
    struct stat st;

    if (read_source(c, err) < 0 || pv_newfile_open(&f, &c->dir, err) < 0)
        return -1;
    o.fd = f.fd;
    blake2b_init(&o.sum, sizeof(sum));
    if (unpack_payload(c, &o, &why) < 0) {
        if (why.cls == PV_E_USAGE && source_unchanged(c->src)) /* not for a full disk (class host) */
            remember_none(c, &why);
        return pv_err_set_at(err, why.cls, why.errnum, why.file, why.line, "%s", why.text);
    }
    blake2b_final(&o.sum, sum, sizeof(sum));
    pv_hex(sum, sizeof(sum), text);
    if (pv_newfile_commit(&f, c->vmlinux, true, err) < 0)
        return -1;
    c->fd = pv_cachedir_file(&c->dir, c->vmlinux, O_RDONLY, err);
    if (c->fd < 0)
        return -1;
    if (fstat(f.fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot stat '%s/%s'", c->dir.path, c->vmlinux);
    return write_ok(c, o.length, text, &st, err);
}

static int find_or_make_vmlinux(struct cache *c, struct pv_err *err)
{
    cleanup_close int lock = -1;
    enum verdict v = look_up(c, err);

    if (v == ABSENT) {
        lock = pv_cachedir_file(&c->dir, "lock", O_RDWR | O_CREAT, NULL);
        /* Without a lock two processes may make it; pv_newfile_commit makes that harmless. */
        if (lock >= 0)
            pv_lock_until(lock, pv_deadline(LOCK_LIMIT), -1);
        v = look_up(c, err);
    }
    if (v == GOOD)
        return 0;
    if (v == UNUSABLE || make_vmlinux(c, err) < 0)
        return -1;
    pv_kprune(c->dir.fd, PV_KPRUNE_KEEP, PV_KPRUNE_AGE_S);
    return 0;
}

char *pv_kcache_get(const struct pv_kcache_src *src, int *fd, struct pv_err *err)
{
    __attribute__((cleanup(cache_fini))) struct cache c = {.src = src, .dir = PV_CACHEDIR_INIT, .fd = -1};

    if (pv_cachedir_open(&c.dir, "kernels", err) < 0 || hash_source(&c, err) < 0)
        return NULL;
    c.vmlinux = pv_xasprintf("%s.vmlinux", c.hash);
    c.ok = pv_xasprintf("%s.ok", c.hash);
    if (find_or_make_vmlinux(&c, err) < 0)
        return NULL;
    *fd = pv_steal_fd(&c.fd);
    return pv_path_join(c.dir.path, c.vmlinux);
}
