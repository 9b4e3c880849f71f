/* SPDX-License-Identifier: MIT */
/*
 * Fields of the x86 boot protocol (Linux Documentation/arch/x86/boot.rst):
 *
 *     0x1f1  u8   setup_sects, 0 means 4; the protected-mode code begins at (setup_sects + 1) * 512
 *     0x202  4    "HdrS"
 *     0x206  u16  protocol version
 *     0x20e  u16  offset of the version string - 0x200; 0: none
 *     0x211  u8   loadflags, bit 0: bzImage
 *     0x236  u16  xloadflags, bit 0: has a 64-bit entry point (protocol 2.12)
 *     0x248  u32  offset of the payload in the protected-mode code (protocol 2.08)
 *     0x24c  u32  length of the payload
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/elf.h"
#include "image/image.h"
#include "image/kcache.h"
#include "image/magic.h"
#include "image/uki.h"
#include "util/err.h"
#include "util/log.h"
#include "util/path.h"

enum {
    HDR_MIN = 0x260,
    PROTO_PAYLOAD = 0x208,
    PROTO_64BIT = 0x20c,
    RELEASE_MAX = 64, /* __NEW_UTS_LEN */
};

static unsigned u16(const uint8_t *p)
{
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}

static int refuse_kernel(struct pv_err *err, const char *path, const char *what)
{
    return pv_err_set(
        err, PV_E_USAGE,
        "kernel '%s' is %s; expected an x86-64 bzImage (vmlinuz), or an ELF vmlinux with a PVH note", path,
        what);
}

/* The first word of the version string, which must lie in the setup code; NULL: none. */
static char *read_release(int fd, const uint8_t *head, uint64_t setup_end)
{
    unsigned offset = u16(head + 0x20e);
    char buf[RELEASE_MAX + 2] = "";
    size_t n = 0;
    ssize_t got;

    if (!offset || offset + 0x200u >= setup_end)
        return NULL;
    got = pv_pread_all(fd, buf, sizeof(buf) - 1, (off_t)offset + 0x200);
    while (got > 0 && n < (size_t)got && buf[n] > ' ' && buf[n] < 0x7f && buf[n] != '/')
        n++;
    /* Callers use the release as a directory name: "", "." and ".." are refused. */
    return n && n <= RELEASE_MAX && buf[0] != '.' ? pv_xstrndup(buf, n) : NULL;
}

static int open_bzimage(const char *path, bool unpack, const uint8_t *head, struct pv_kcache_src *src,
                        struct pv_kernel *k, struct pv_err *err)
{
    unsigned version = u16(head + 0x206), sects = head[0x1f1] ? head[0x1f1] : 4;
    uint64_t setup_end = ((uint64_t)sects + 1) * 512;
    struct pv_err why = PV_ERR_INIT;

    if (version < PROTO_64BIT || !(u16(head + 0x236) & 1) || !(head[0x211] & 1))
        return refuse_kernel(err, path,
                             "a kernel without a 64-bit entry point (32-bit, or older than Linux 3.8)");
    if (setup_end >= (uint64_t)src->st.st_size)
        return refuse_kernel(err, path, "a bzImage that is cut short");
    src->offset = setup_end + u32(head + 0x248);
    src->length = u32(head + 0x24c);
    if (src->length && src->offset + src->length > (uint64_t)src->st.st_size)
        return refuse_kernel(err, path, "a bzImage that is cut short");
    k->release = read_release(src->fd, head, setup_end);
    if (unpack && src->length) {
        k->boot_path = pv_kcache_get(src, &k->fd, &why);
        k->unpacked = k->boot_path != NULL;
        if (!k->unpacked)
            pv_debug("image", "'%s' boots as it is: %s", path, why.text);
    }
    if (!k->boot_path)
        k->boot_path = pv_xstrdup(path);
    return 0;
}

/* A vmlinux that was compressed as a whole: QEMU takes it unpacked only. */
static int open_compressed(const char *path, const char *what, struct pv_kcache_src *src, struct pv_kernel *k,
                           struct pv_err *err)
{
    struct pv_err why = PV_ERR_INIT;
    struct stat st;

    src->whole = true;
    src->length = (uint64_t)src->st.st_size;
    k->boot_path = pv_kcache_get(src, &k->fd, &why);
    if (!k->boot_path)
        return pv_err_set(err, PV_E_USAGE,
                          "kernel '%s' is %s; expected an x86-64 bzImage (vmlinuz), or an ELF vmlinux with a "
                          "PVH note, plain or "
                          "compressed: %s",
                          path, what, why.text);
    k->unpacked = true;
    if (fstat(k->fd, &st) == 0)
        k->release = pv_elf_linux_release(k->fd, (uint64_t)st.st_size);
    return 0;
}

static int open_elf(const char *path, const struct pv_kcache_src *src, struct pv_kernel *k,
                    struct pv_err *err)
{
    const char *why = pv_elf_why_not_pvh(src->fd, (uint64_t)src->st.st_size);

    if (why)
        return refuse_kernel(err, path, why);
    k->release = pv_elf_linux_release(src->fd, (uint64_t)src->st.st_size);
    k->boot_path = pv_xstrdup(path);
    return 0;
}

/* Takes fd.  `path` is for messages, and what QEMU is given if it gets no descriptor. */
static int open_fd(const char *path, int fd, bool unpack, struct pv_kernel *k, struct pv_err *err)
{
    cleanup_close int own = fd;
    struct pv_kcache_src src = {.fd = fd};
    uint8_t head[PV_MAGIC_BYTES] = {0};
    ssize_t n;
    int r;

    if (fstat(fd, &src.st) < 0)
        return pv_err_sys(err, errno, "cannot stat kernel '%s'", path);
    if (!S_ISREG(src.st.st_mode))
        return refuse_kernel(err, path, S_ISDIR(src.st.st_mode) ? "a directory" : "no regular file");
    n = pv_pread_all(fd, head, sizeof(head), 0);
    if (n < 0)
        return pv_err_sys(err, errno, "cannot read kernel '%s'", path);
    if (n >= 4 && !memcmp(head, "\x7f\x45LF", 4))
        r = open_elf(path, &src, k, err);
    else if (n >= HDR_MIN && !memcmp(head + 0x202, "HdrS", 4))
        r = open_bzimage(path, unpack, head, &src, k, err);
    else if (pv_magic_comp(head, (size_t)n) != PV_COMP_NONE)
        r = open_compressed(path, pv_magic_describe(head, (size_t)n), &src, k, err);
    else
        r = refuse_kernel(err, path, pv_magic_describe(head, (size_t)n));
    if (r == 0 && !k->unpacked)
        k->fd = pv_steal_fd(&own);
    return r;
}

int pv_kernel_open(const char *path, bool unpack, struct pv_kernel *k, struct pv_err *err)
{
    /* O_NONBLOCK: opening a fifo must not block. */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct pv_err why = PV_ERR_INIT;
    struct stat st;
    int inner;

    *k = (struct pv_kernel){0};
    if (fd < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__, "cannot open kernel '%s': %s", path,
                             strerror(errno));
    inner =
        fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pv_uki_kernel(path, fd, (uint64_t)st.st_size, &why) : -1;
    if (inner < 0 && why.cls != PV_E_NONE) {
        if (err)
            *err = why;
        return -1;
    }
    return open_fd(path, inner >= 0 ? inner : pv_steal_fd(&fd), unpack, k, err);
}

void pv_kernel_fini(struct pv_kernel *k)
{
    if (k->fd > 0)
        close(k->fd);
    free(k->boot_path);
    free(k->release);
    *k = (struct pv_kernel){0};
}
