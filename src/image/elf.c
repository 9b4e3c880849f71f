/* SPDX-License-Identifier: MIT */
#include "image/elf.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/path.h"

enum {
    PHNUM_MAX = 256,
    NOTE_MAX = 1 << 20,
    XEN_ELFNOTE_PHYS32_ENTRY = 18, /* Xen's public/elfnote.h */
    SCAN_CHUNK = 1 << 20,
    RELEASE_MAX = 64, /* __NEW_UTS_LEN */
};

struct elf {
    int fd;
    uint64_t size;
    Elf64_Half phnum;
    Elf64_Phdr ph[PHNUM_MAX];
};

static bool pread_exact(int fd, void *dst, size_t n, uint64_t at)
{
    return pv_pread_all(fd, dst, n, (off_t)at) == (ssize_t)n;
}

static bool elf_contains(const struct elf *e, uint64_t offset, uint64_t n)
{
    return offset <= e->size && n <= e->size - offset;
}

static const char *elf_load(struct elf *e)
{
    Elf64_Ehdr eh;

    if (!pread_exact(e->fd, &eh, sizeof(eh), 0) || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
        return "not an ELF file";
    if (eh.e_ident[EI_CLASS] != ELFCLASS64)
        return "a 32-bit ELF file";
    if (eh.e_ident[EI_DATA] != ELFDATA2LSB || eh.e_machine != EM_X86_64)
        return "an ELF file for another processor than x86-64";
    if (eh.e_type == ET_REL)
        return "an ELF object file (a kernel module?)";
    if (eh.e_type != ET_EXEC && eh.e_type != ET_DYN)
        return "an ELF file that is no program";
    if (eh.e_phentsize != sizeof(Elf64_Phdr) || !eh.e_phnum || eh.e_phnum > PHNUM_MAX)
        return "an ELF file with a strange program header table";
    e->phnum = eh.e_phnum;
    if (!elf_contains(e, eh.e_phoff, (uint64_t)e->phnum * sizeof(Elf64_Phdr)) ||
        !pread_exact(e->fd, e->ph, e->phnum * sizeof(Elf64_Phdr), eh.e_phoff))
        return "an ELF file that is cut short";
    for (unsigned i = 0; i < e->phnum; i++)
        if (e->ph[i].p_type == PT_LOAD && !elf_contains(e, e->ph[i].p_offset, e->ph[i].p_filesz))
            return "an ELF file that is cut short";
    return NULL;
}

static size_t align4(size_t n)
{
    return (n + 3) & ~(size_t)3;
}

/* True if the n bytes of notes have a PVH entry note. */
static bool has_pvh(const char *p, size_t n)
{
    while (n >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr nh;
        size_t name, desc;

        memcpy(&nh, p, sizeof(nh));
        p += sizeof(nh);
        n -= sizeof(nh);
        name = align4(nh.n_namesz);
        desc = align4(nh.n_descsz);
        if (nh.n_namesz > n || name > n || nh.n_descsz > n - name)
            return false;
        if (nh.n_type == XEN_ELFNOTE_PHYS32_ENTRY && nh.n_namesz == 4 && memcmp(p, "Xen", 4) == 0 &&
            (nh.n_descsz == 4 || nh.n_descsz == 8))
            return true;
        if (desc > n - name)
            return false;
        p += name + desc;
        n -= name + desc;
    }
    return false;
}

const char *pv_elf_why_not_pvh(int fd, uint64_t size)
{
    struct elf e = {.fd = fd, .size = size};
    const char *why = elf_load(&e);
    bool loads = false;

    if (why)
        return why;
    for (unsigned i = 0; i < e.phnum; i++)
        loads |= e.ph[i].p_type == PT_LOAD;
    for (unsigned i = 0; loads && i < e.phnum; i++) {
        const Elf64_Phdr *ph = &e.ph[i];
        cleanup_free char *notes = NULL;

        if (ph->p_type != PT_NOTE || ph->p_filesz > NOTE_MAX || !elf_contains(&e, ph->p_offset, ph->p_filesz))
            continue;
        notes = pv_xmalloc(ph->p_filesz + 1);
        if (pread_exact(fd, notes, ph->p_filesz, ph->p_offset) && has_pvh(notes, ph->p_filesz))
            return NULL;
    }
    return "an x86-64 ELF program without a PVH note (a kernel has one with CONFIG_PVH=y)";
}

/*
 * The release at p, right behind "Linux version ".  The buffer has RELEASE_MAX + 1 bytes from p on unless the
 * segment ends before.  NULL: no release.
 */
static char *release_at(const char *p, const char *end)
{
    size_t n = 0;

    while (p + n < end && n < RELEASE_MAX && p[n] > ' ' && p[n] < 0x7f)
        n++;
    if (!n || p[0] < '0' || p[0] > '9' || p + n >= end || p[n] != ' ')
        return NULL;
    return pv_xstrndup(p, n);
}

static char *scan_segment(int fd, uint64_t at, uint64_t left, char *buf)
{
    static const char mark[] = "Linux version ";
    enum { MARK = sizeof(mark) - 1, OVERLAP = MARK + RELEASE_MAX + 1 };

    while (left > MARK) {
        size_t n = left < SCAN_CHUNK ? (size_t)left : SCAN_CHUNK;
        const char *p = buf, *end = buf + n;

        if (!pread_exact(fd, buf, n, at))
            return NULL;
        while ((p = memmem(p, (size_t)(end - p), mark, MARK)) != NULL) {
            char *release = release_at(p + MARK, end);

            if (release)
                return release;
            p += MARK;
        }
        if (n == left)
            return NULL;
        at += n - OVERLAP; /* the next chunk repeats a match that this chunk's end cut */
        left -= n - OVERLAP;
    }
    return NULL;
}

char *pv_elf_linux_release(int fd, uint64_t size)
{
    struct elf e = {.fd = fd, .size = size};
    cleanup_free char *buf = NULL;
    char *release = NULL;

    if (elf_load(&e))
        return NULL;
    buf = pv_xmalloc(SCAN_CHUNK);
    for (unsigned i = 0; !release && i < e.phnum; i++)
        if (e.ph[i].p_type == PT_LOAD)
            release = scan_segment(fd, e.ph[i].p_offset, e.ph[i].p_filesz, buf);
    return release;
}
