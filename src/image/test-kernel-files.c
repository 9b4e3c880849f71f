/* SPDX-License-Identifier: MIT */
#include "image/test-kernel-files.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <elf.h>
#include <fcntl.h>
#include <lzo/lzo1x.h>
#include <string.h>
#include <unistd.h>

#include "util/path.h"

void test_make_elf(struct pv_buf *elf, size_t size, bool pvh, unsigned seed)
{
    static const char banner[] = "Linux version " TEST_RELEASE " (someone@somewhere) #1";
    struct {
        Elf64_Ehdr eh;
        Elf64_Phdr ph[2];
        Elf64_Nhdr other;
        char other_name[8], other_desc[4];
        Elf64_Nhdr nh;
        char name[4];
        uint32_t entry;
    } h = {
        .eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
               .e_type = ET_EXEC,
               .e_machine = EM_X86_64,
               .e_version = EV_CURRENT,
               .e_phoff = sizeof(Elf64_Ehdr),
               .e_ehsize = sizeof(Elf64_Ehdr),
               .e_phentsize = sizeof(Elf64_Phdr),
               .e_phnum = 2},
        .other = {6, 1, 7}, /* lengths that need padding */
        .other_name = "Linux",
        .nh = {4, 4, pvh ? 18 : 17},
        .name = "Xen",
        .entry = 0x1000000,
    };
    uint32_t x = seed * 2654435761u + 1;
    char *p;

    h.ph[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_filesz = size, .p_memsz = size};
    h.ph[1] = (Elf64_Phdr){.p_type = PT_NOTE,
                           .p_offset = offsetof(__typeof__(h), other),
                           .p_filesz = sizeof(h) - offsetof(__typeof__(h), other)};
    assert(size > sizeof(h) + 4096);
    p = pv_buf_reserve(elf, size);
    memset(p, 0x90, size);
    memcpy(p, &h, sizeof(h));
    for (size_t i = size / 2; i < size - sizeof(banner); i++) {
        x = x * 1664525 + 1013904223;
        p[i] = (char)(x >> 24);
    }
    memcpy(p + size - sizeof(banner), banner, sizeof(banner));
    elf->len += size;
}

static void add_be(struct pv_buf *b, uint32_t v, int bytes)
{
    while (bytes--)
        pv_buf_addc(b, (char)(v >> (8 * bytes)));
}

static void add_le32(struct pv_buf *b, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        pv_buf_addc(b, (char)(v >> (8 * i)));
}

/* lzop's container (decompress.c) with the adler32 of unpacked blocks, as lzop writes it. */
static void lzop(const uint8_t *data, size_t n, struct pv_buf *out)
{
    enum { BLOCK = 256 << 10 };
    cleanup_free void *work = pv_xmalloc(LZO1X_1_MEM_COMPRESS);
    cleanup_free uint8_t *packed = pv_xmalloc(BLOCK + BLOCK / 16 + 64 + 3);

    assert(lzo_init() == LZO_E_OK);
    pv_buf_add(out, "\x89LZO\x00\x0d\x0a\x1a\x0a", 9);
    add_be(out, 0x1040, 2);
    add_be(out, 0x20a0, 2);
    add_be(out, 0x0940, 2);
    add_be(out, 1, 1);
    add_be(out, 5, 1);
    add_be(out, 0x03000001, 4); /* Unix, adler32 of the unpacked */
    add_be(out, 0100644, 4);
    add_be(out, 0, 4);
    add_be(out, 0, 4);
    add_be(out, 3, 1);
    pv_buf_adds(out, "bin");
    add_be(out, 0, 4);
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t len = n - at < BLOCK ? n - at : BLOCK;
        lzo_uint got = 0;

        assert(lzo1x_1_compress(data + at, len, packed, &got, work) == LZO_E_OK);
        add_be(out, (uint32_t)len, 4);
        add_be(out, (uint32_t)(got < len ? got : len), 4);
        add_be(out, lzo_adler32(1, data + at, len), 4);
        if (got < len)
            pv_buf_add(out, packed, got);
        else
            pv_buf_add(out, data + at, len);
    }
    add_be(out, 0, 4);
}

/* The legacy frame: a magic, then blocks of a length and lz4 data, which here is all literals. */
static void lz4_legacy(const uint8_t *data, size_t n, struct pv_buf *out)
{
    enum { BLOCK = 8 << 20 };

    add_le32(out, 0x184c2102);
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t len = n - at < BLOCK ? n - at : BLOCK, rest = len - 15;

        assert(len >= 15);
        add_le32(out, (uint32_t)(1 + rest / 255 + 1 + len));
        pv_buf_addc(out, (char)0xf0);
        for (; rest >= 255; rest -= 255)
            pv_buf_addc(out, (char)0xff);
        pv_buf_addc(out, (char)rest);
        pv_buf_add(out, data + at, len);
    }
}

static int add_filter(struct archive *a, enum pv_comp c)
{
    switch (c) {
    case PV_COMP_GZIP:
        return archive_write_add_filter_gzip(a);
    case PV_COMP_BZIP2:
        return archive_write_add_filter_bzip2(a);
    case PV_COMP_LZMA:
        return archive_write_add_filter_lzma(a);
    case PV_COMP_XZ:
        return archive_write_add_filter_xz(a);
    case PV_COMP_ZSTD:
        return archive_write_add_filter_zstd(a);
    default:
        return ARCHIVE_FATAL;
    }
}

void test_compress(enum pv_comp c, const void *data, size_t n, struct pv_buf *out)
{
    size_t cap = n + n / 2 + 4096, used = 0;
    struct archive_entry *e;
    struct archive *a;

    if (c == PV_COMP_LZO || c == PV_COMP_LZ4) {
        (c == PV_COMP_LZO ? lzop : lz4_legacy)(data, n, out);
        return;
    }
    a = archive_write_new();
    e = archive_entry_new();
    assert(add_filter(a, c) == ARCHIVE_OK && archive_write_set_format_raw(a) == ARCHIVE_OK);
    archive_write_set_bytes_per_block(a, 0);
    archive_write_set_bytes_in_last_block(a, 1);
    archive_entry_set_pathname(e, "data");
    archive_entry_set_filetype(e, AE_IFREG);
    assert(archive_write_open_memory(a, pv_buf_reserve(out, cap), cap, &used) == ARCHIVE_OK);
    assert(archive_write_header(a, e) == ARCHIVE_OK);
    assert(archive_write_data(a, data, n) == (la_ssize_t)n);
    assert(archive_write_close(a) == ARCHIVE_OK);
    archive_entry_free(e);
    archive_write_free(a);
    out->len += used;
}

void test_make_bzimage(struct pv_buf *bz, enum pv_comp c, const struct pv_buf *packed, size_t plain_len)
{
    enum { SECTS = 5, SETUP = (SECTS + 1) * 512, STUB = 0x123 };
    uint32_t length = (uint32_t)packed->len + (c == PV_COMP_GZIP ? 0 : 4), offset = STUB;
    size_t start = bz->len;
    uint8_t *p;

    memset(pv_buf_reserve(bz, SETUP + STUB), 0xcc, SETUP + STUB);
    p = (uint8_t *)bz->data + start;
    bz->len += SETUP + STUB;
    p[0] = 'M', p[1] = 'Z';
    p[0x1f1] = SECTS;
    p[0x1fe] = 0x55, p[0x1ff] = 0xaa;
    memcpy(p + 0x202, "HdrS\x0f\x02", 6);
    p[0x20e] = 0x00, p[0x20f] = 0x04; /* at 0x600 */
    strcpy((char *)p + 0x600, TEST_RELEASE " (someone@somewhere) #1");
    p[0x211] = 1;
    p[0x236] = 0x7f, p[0x237] = 0;
    memcpy(p + 0x248, &offset, 4);
    memcpy(p + 0x24c, &length, 4);
    pv_buf_add(bz, packed->data, packed->len);
    if (c != PV_COMP_GZIP)
        add_le32(bz, (uint32_t)plain_len);
    pv_buf_adds(bz, "signature or whatever follows");
}

void test_make_kernel(const char *path, enum pv_comp c, unsigned seed, bool pvh, struct pv_buf *elf)
{
    cleanup_buf struct pv_buf packed = {0}, bz = {0};

    test_make_elf(elf, TEST_ELF_SIZE, pvh, seed);
    test_compress(c, elf->data, elf->len, &packed);
    test_make_bzimage(&bz, c, &packed, elf->len);
    test_write(path, bz.data, bz.len);
}

char *test_guest_dir(void)
{
    const char *dir = getenv("PROVIUM_GUEST_DIR");
    cleanup_free char *self = pv_self_dir(), *own = NULL;

    if (dir)
        return pv_xstrdup(dir);
    own = pv_path_join(self, "guest"); /* build directories other than build/ have no guest */
    return access(own, F_OK) == 0 ? pv_steal(&own) : pv_path_join(self, "../build/guest");
}

void test_write(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert(fd >= 0 && pv_write_all(fd, data, n) == 0 && close(fd) == 0);
}
