/* SPDX-License-Identifier: MIT */
/*
 * lzop's container, after lzop's own source and Linux' lib/decompress_unlzo.c (integers are big-endian):
 *
 *     magic[9] version:u16 libversion:u16 needed:u16 method:u8 level:u8 flags:u32 [filter:u32]
 *     mode:u32 mtime_low:u32 mtime_high:u32 namelen:u8 name[namelen] header_checksum:u32
 *     blocks: unpacked:u32 (0: the end) packed:u32 [adler32 of unpacked][crc32 of unpacked]
 *             [adler32 of packed][crc32 of packed] (both only if packed < unpacked) data[packed]
 */
#include "image/decompress.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <lzo/lzo1x.h>
#include <stdbool.h>
#include <string.h>

#include "util/err.h"
#include "util/mem.h"

struct codec {
    int (*support)(struct archive *);
    int code;
};

static const struct codec codecs[PV_COMP_COUNT] = {
    [PV_COMP_GZIP] = {archive_read_support_filter_gzip, ARCHIVE_FILTER_GZIP},
    [PV_COMP_BZIP2] = {archive_read_support_filter_bzip2, ARCHIVE_FILTER_BZIP2},
    [PV_COMP_LZMA] = {archive_read_support_filter_lzma, ARCHIVE_FILTER_LZMA},
    [PV_COMP_XZ] = {archive_read_support_filter_xz, ARCHIVE_FILTER_XZ},
    [PV_COMP_LZ4] = {archive_read_support_filter_lz4, ARCHIVE_FILTER_LZ4},
    [PV_COMP_ZSTD] = {archive_read_support_filter_zstd, ARCHIVE_FILTER_ZSTD},
};

static int too_large(uint64_t max, struct pv_err *err)
{
    return pv_err_set(err, PV_E_USAGE, "unpacks to more than %llu MiB", (unsigned long long)(max >> 20));
}

static int bad_archive(struct archive *a, enum pv_comp c, struct pv_err *err)
{
    const char *why = archive_error_string(a);

    return pv_err_set(err, PV_E_USAGE, "damaged %s data: %s", pv_comp_name(c), why ? why : "unknown reason");
}

static int run_filter(struct archive *a, enum pv_comp c, const void *data, size_t n, uint64_t max,
                      pv_sink_fn *sink, void *arg, struct pv_err *err)
{
    struct archive_entry *entry;
    uint64_t total = 0;

    /* ARCHIVE_WARN means that libarchive would run an external program. */
    if (codecs[c].support(a) != ARCHIVE_OK || archive_read_support_format_raw(a) != ARCHIVE_OK)
        return pv_err_set(err, PV_E_MISSING, "this libarchive was built without %s", pv_comp_name(c));
    if (archive_read_open_memory(a, data, n) != ARCHIVE_OK ||
        archive_read_next_header(a, &entry) != ARCHIVE_OK)
        return bad_archive(a, c, err);
    if (archive_filter_code(a, 0) != codecs[c].code)
        return pv_err_set(err, PV_E_USAGE, "damaged %s data: bad header", pv_comp_name(c));
    for (;;) {
        const void *block;
        size_t len;
        la_int64_t offset;
        int rc = archive_read_data_block(a, &block, &len, &offset);

        if (rc == ARCHIVE_EOF)
            return 0;
        if (rc != ARCHIVE_OK)
            return bad_archive(a, c, err);
        total += len;
        if (total > max)
            return too_large(max, err);
        if (sink(arg, block, len, err) < 0)
            return -1;
    }
}

/* ---- lzo ---- */

enum {
    LZO_MAGIC = 9,
    LZO_BLOCK_MAX = 64 << 20, /* lzop's own limit for one block */
    LZO_F_ADLER_D = 0x1,
    LZO_F_ADLER_C = 0x2,
    LZO_F_CRC_D = 0x100,
    LZO_F_CRC_C = 0x200,
    LZO_F_FILTER = 0x800,
};

struct reader {
    const uint8_t *p;
    size_t n;
    bool bad;
};

static const uint8_t *reader_take(struct reader *r, size_t n)
{
    const uint8_t *p = r->p;

    if (r->bad || r->n < n) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    r->n -= n;
    return p;
}

static uint32_t reader_take_be(struct reader *r, size_t bytes)
{
    const uint8_t *p = reader_take(r, bytes);
    uint32_t v = 0;

    for (size_t i = 0; p && i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static int bad_lzo(const char *why, struct pv_err *err)
{
    return pv_err_set(err, PV_E_USAGE, "damaged lzo data: %s", why);
}

static bool lzo_header(struct reader *r, uint32_t *flags)
{
    uint32_t method;

    reader_take(r, LZO_MAGIC);
    if (reader_take_be(r, 2) <
        0x0940) /* headers before lzop 0.94 have other fields; the kernel's build writes none */
        return false;
    reader_take_be(r, 2);
    reader_take_be(r, 2);
    method = reader_take_be(r, 1);
    reader_take_be(r, 1);
    *flags = reader_take_be(r, 4);
    if (*flags & LZO_F_FILTER)
        reader_take_be(r, 4);
    reader_take(r, 12);
    reader_take(r, reader_take_be(r, 1));
    reader_take_be(r, 4);
    return !r->bad && method >= 1 && method <= 3; /* the three levels of lzo1x */
}

/* Unpacks one block into out (unpacked_len bytes).  NULL, or the fault. */
static const char *lzo_block(struct reader *r, uint32_t flags, uint32_t unpacked_len, uint8_t *out)
{
    uint32_t packed_len = reader_take_be(r, 4), adler = 0;
    lzo_uint out_len = unpacked_len;
    const uint8_t *src;

    if (flags & LZO_F_ADLER_D)
        adler = reader_take_be(r, 4);
    if (flags & LZO_F_CRC_D)
        reader_take_be(r, 4);
    if (packed_len < unpacked_len) {
        if (flags & LZO_F_ADLER_C)
            reader_take_be(r, 4);
        if (flags & LZO_F_CRC_C)
            reader_take_be(r, 4);
    }
    src = reader_take(r, packed_len);
    if (!src || !packed_len || packed_len > unpacked_len)
        return "a block is cut short";
    if (packed_len == unpacked_len)
        memcpy(out, src, unpacked_len);
    else if (lzo1x_decompress_safe(src, packed_len, out, &out_len, NULL) != LZO_E_OK ||
             out_len != unpacked_len)
        return "a block does not unpack";
    if ((flags & LZO_F_ADLER_D) && lzo_adler32(1, out, unpacked_len) != adler)
        return "a block's checksum is wrong";
    return NULL;
}

static int unlzo(const void *data, size_t n, uint64_t max, pv_sink_fn *sink, void *arg, struct pv_err *err)
{
    struct reader r = {.p = data, .n = n};
    cleanup_free uint8_t *out = NULL;
    size_t cap = 0;
    uint64_t total = 0;
    uint32_t flags = 0, len;

    if (lzo_init() != LZO_E_OK)
        return pv_err_set(err, PV_E_HOST, "liblzo2 does not fit this machine");
    if (!lzo_header(&r, &flags))
        return bad_lzo("bad header", err);
    while ((len = reader_take_be(&r, 4)) != 0) {
        const char *why;

        if (len > LZO_BLOCK_MAX)
            return bad_lzo("a block is too large", err);
        total += len;
        if (total > max)
            return too_large(max, err);
        if (len > cap) {
            free(out);
            out = pv_xmalloc(len);
            cap = len;
        }
        why = lzo_block(&r, flags, len, out);
        if (why)
            return bad_lzo(why, err);
        if (sink(arg, out, len, err) < 0)
            return -1;
    }
    return r.bad ? bad_lzo("the end is missing", err) : 0;
}

int pv_decompress(enum pv_comp c, const void *data, size_t n, uint64_t max, pv_sink_fn *sink, void *arg,
                  struct pv_err *err)
{
    struct archive *a;
    int rc;

    assert(c != PV_COMP_NONE && c < PV_COMP_COUNT);
    if (c == PV_COMP_LZO)
        return unlzo(data, n, max, sink, arg, err);
    a = archive_read_new();
    if (!a)
        return pv_err_set(err, PV_E_HOST, "cannot start libarchive: out of memory");
    rc = run_filter(a, c, data, n, max, sink, arg, err);
    archive_read_free(a);
    return rc;
}
