/* SPDX-License-Identifier: MIT */
#include "vm/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { CHAIN_MAX = 32, HEADER_2 = 72, HEADER_3 = 104 };

#define MAGIC UINT32_C(0x514649fb) /* "QFI\xfb" */
#define EXTENSION_END UINT32_C(0)
#define EXTENSION_BACKING_FORMAT UINT32_C(0xe2792aca)
#define EXTENSION_DATA_FILE UINT32_C(0x44415441)
#define INCOMPATIBLE_DATA_FILE (UINT64_C(1) << 2)

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64(const uint8_t *p)
{
    return (uint64_t)be32(p) << 32 | be32(p + 4);
}

/* Copies n bytes as a string; false if they do not fit or hold a NUL. */
static bool text_get(char *to, size_t room, const uint8_t *p, size_t n)
{
    if (n >= room || memchr(p, '\0', n))
        return false;
    memcpy(to, p, n);
    to[n] = '\0';
    return true;
}

/* The extensions are behind the header; the image's end or the backing file's name ends them, too. */
static bool extensions_parse(const uint8_t *p, size_t at, size_t end, struct pv_qcow2 *q)
{
    while (end - at >= 8) {
        uint32_t type = be32(p + at), len = be32(p + at + 4);

        at += 8;
        if (type == EXTENSION_END)
            return true;
        if (len > end - at)
            return false;
        if (type == EXTENSION_DATA_FILE)
            q->data_file = true;
        if (type == EXTENSION_BACKING_FORMAT &&
            !text_get(q->backing_format, sizeof(q->backing_format), p + at, len))
            return false;
        if (len > UINT32_MAX - 7 || ((len + 7) & ~7U) > end - at)
            return true;
        at += (len + 7) & ~7U;
    }
    return true;
}

int pv_qcow2_parse(const void *head, size_t n, struct pv_qcow2 *q, struct pv_err *err)
{
    const uint8_t *p = head;
    size_t header = HEADER_2, end = n;
    uint32_t version, name_len;
    uint64_t name;

    *q = (struct pv_qcow2){0};
    if (n < HEADER_2 || be32(p) != MAGIC)
        return pv_err_set(err, PV_E_USAGE, "is no qcow2 image");
    version = be32(p + 4);
    if (version != 2 && version != 3)
        return pv_err_set(err, PV_E_USAGE, "is a qcow image of version %u; expected 2 or 3", version);
    q->size = be64(p + 24);
    if (version == 3) {
        header = n >= HEADER_3 ? be32(p + 100) : 0;
        if (header < HEADER_3 || header > n)
            return pv_err_set(err, PV_E_USAGE, "is a qcow2 image with a bad header");
        q->data_file = be64(p + 72) & INCOMPATIBLE_DATA_FILE;
    }
    name = be64(p + 8);
    name_len = be32(p + 16);
    if (name) {
        if (name < header || name > n || name_len > n - name || name_len == 0 ||
            !text_get(q->backing, sizeof(q->backing), p + name, name_len))
            return pv_err_set(err, PV_E_USAGE, "is a qcow2 image with a bad name of a backing file");
        end = (size_t)name;
    }
    if (!extensions_parse(p, header, end, q))
        return pv_err_set(err, PV_E_USAGE, "is a qcow2 image with bad header extensions");
    return 0;
}

static int head_read(const char *path, uint8_t *head, size_t *n, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t r = fd < 0 ? -1 : pv_pread_all(fd, head, PV_QCOW2_HEAD, 0);

    if (r < 0)
        return pv_err_set(err, PV_E_USAGE, "cannot be read: %s", strerror(errno));
    *n = (size_t)r;
    return 0;
}

/* QEMU takes "PROTOCOL:..." for something else than a path. */
static bool is_plain_path(const char *path)
{
    return !memchr(path, ':', strcspn(path, "/"));
}

static int backing_check(const struct pv_qcow2 *q, bool backing, struct pv_err *err)
{
    if (q->data_file)
        return pv_err_set(err, PV_E_USAGE,
                          "keeps its content in a data file of its own choice; make it whole with `qemu-img "
                          "convert -O qcow2`");
    if (!q->backing[0])
        return 0;
    if (!backing)
        return pv_err_set(err, PV_E_USAGE,
                          "has the backing file '%.200s', which was not asked for: pass backing = true (of a "
                          "profile's rootfs: rootfs_backing = true), or make it whole with `qemu-img convert "
                          "-O qcow2`",
                          q->backing);
    if (!is_plain_path(q->backing))
        return pv_err_set(err, PV_E_USAGE, "has the backing file '%.200s'; expected the path of a file",
                          q->backing);
    if (!strcmp(q->backing_format, "raw") || !strcmp(q->backing_format, "qcow2"))
        return 0;
    return pv_err_set(err, PV_E_USAGE,
                      "%s format of its backing file '%.200s'; expected raw or qcow2 (`qemu-img rebase -u -F "
                      "raw -b FILE IMAGE` writes it)",
                      q->backing_format[0] ? "has an unsupported" : "does not say the", q->backing);
}

static char *backing_path(const char *image, const char *backing)
{
    cleanup_free char *dir = pv_path_dirname(image);

    return backing[0] == '/' ? pv_xstrdup(backing) : pv_path_join(dir, backing);
}

/* "disk 'PATH' WHAT". */
static int chain_fault(const char *path, struct pv_err *err)
{
    cleanup_free char *what = err ? pv_xstrdup(err->text) : NULL;

    return pv_err_set(err, PV_E_USAGE, "disk '%s' %s", path, what);
}

int pv_disk_chain(const char *path, const char *format, bool backing,
                  void (*each)(const char *path, void *arg), void *arg, struct pv_err *err)
{
    cleanup_free char *at = pv_xstrdup(path);
    cleanup_free uint8_t *head = pv_xmalloc(PV_QCOW2_HEAD);
    bool qcow2 = !strcmp(format, "qcow2");

    for (unsigned depth = 0;; depth++) {
        struct pv_qcow2 q = {0};
        size_t n = 0;
        char *next;

        if (each)
            each(at, arg);
        if (!qcow2)
            return 0;
        if (depth == CHAIN_MAX)
            return pv_err_set(err, PV_E_USAGE, "disk '%s' has a backing chain of more than %d images", path,
                              CHAIN_MAX);
        if (head_read(at, head, &n, err) < 0 || pv_qcow2_parse(head, n, &q, err) < 0 ||
            backing_check(&q, backing, err) < 0) {
            return chain_fault(at, err);
        }
        if (!q.backing[0])
            return 0;
        qcow2 = !strcmp(q.backing_format, "qcow2");
        next = backing_path(at, q.backing);
        free(at);
        at = next;
    }
}
