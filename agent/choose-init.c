/* SPDX-License-Identifier: MIT */
#include "boot.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "switch-root.h"
#include "util.h"

/* Sets dst to the interpreter of the script or ELF program that begins with `head`; "" when it has none. */
static void find_interpreter(int fd, char *head, size_t n, char *dst, size_t cap)
{
    const Elf64_Ehdr *eh = (const void *)head;

    dst[0] = '\0';
    if (n > 2 && head[0] == '#' && head[1] == '!') {
        char *p = head + 2 + strspn(head + 2, " \t");

        p[strcspn(p, " \t\n")] = '\0';
        ag_format(dst, cap, "%s", p);
        return;
    }
    if (n < sizeof(*eh) || memcmp(head, ELFMAG, SELFMAG) != 0 || head[EI_CLASS] != ELFCLASS64 ||
        eh->e_phentsize != sizeof(Elf64_Phdr))
        return;
    for (unsigned i = 0; i < eh->e_phnum && i < 64; i++) {
        Elf64_Phdr ph;

        if (pread(fd, &ph, sizeof(ph), (off_t)(eh->e_phoff + i * sizeof(ph))) != sizeof(ph))
            return;
        if (ph.p_type != PT_INTERP || ph.p_filesz >= cap)
            continue;
        ssize_t r = pread(fd, dst, ph.p_filesz, (off_t)ph.p_offset);
        dst[r < 0 ? 0 : r] = '\0';
        return;
    }
}

/* NULL when `path` can be run; else the reason, and *e its errno. */
static const char *cannot_run(const char *path, int *e, char *why, size_t cap)
{
    _Alignas(Elf64_Ehdr) char head[257] = "";
    char interp[PV_PATH_MAX];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *e = fd < 0 ? errno : 0;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        ssize_t n = pread(fd, head, sizeof(head) - 1, 0);

        find_interpreter(fd, head, n < 0 ? 0 : (size_t)n, interp, sizeof(interp));
        close(fd);
        if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111)) {
            *e = EACCES;
            ag_format(why, cap, "%s (%s, mode %04o)", strerror(EACCES),
                      S_ISREG(st.st_mode) ? "not executable" : "no regular file", st.st_mode & 07777);
            return why;
        }
        if (interp[0] && access(interp, X_OK) < 0) {
            *e = errno;
            ag_format(why, cap, "its interpreter '%s': %s", interp, strerror(*e));
            return why;
        }
        return NULL;
    }
    return *e ? strerror(*e) : NULL;
}

/* "; '@' has one ..." for the directories at the top of a btrfs, as its subvolumes are, that have b->init; else "". */
static const char *subvolumes_with_init(const struct ag_boot *b, char *buf, size_t cap)
{
    DIR *top = b->btrfs ? opendir("/") : NULL;
    const struct dirent *entry;
    size_t n = 0;

    buf[0] = '\0';
    while (top && (entry = readdir(top)) != NULL && n + 1 < cap) {
        char path[PV_PATH_MAX];
        struct stat st;

        if (entry->d_name[0] == '.' || !ag_format(path, sizeof(path), "/%s%s", entry->d_name, b->init) ||
            lstat(path, &st) < 0)
            continue;
        ag_format(
            buf + n, cap - n, "%s'%s'",
            n ? ", " : "; rootflags = \"subvol=NAME\" chooses a subvolume that has it: ", entry->d_name);
        n = strlen(buf);
    }
    if (top)
        closedir(top);
    return buf;
}

void ag_choose_init(struct ag_boot *b)
{
    char why[PV_PATH_MAX + 256];
    int e;

    /* An initrd's init is /init: an injected /sbin/init is meant for the root that it switches to. */
    if (b->root_switch && b->root_switch->hold && b->conf.init_fallback &&
        !cannot_run(b->conf.init_fallback, &e, why, sizeof(why))) {
        ag_format(b->init, sizeof(b->init), "%s", b->conf.init_fallback);
        return;
    }
    const char *bad = cannot_run(b->init, &e, why, sizeof(why));

    if (!bad)
        return;
    if (e == ENOENT && b->conf.init_fallback && access(b->init, F_OK) < 0) {
        char why2[PV_PATH_MAX + 256];
        const char *bad2 = cannot_run(b->conf.init_fallback, &e, why2, sizeof(why2));

        if (bad2)
            ag_fatal(b, "cannot run init '%s': %s, nor '%s': %s", b->init, bad, b->conf.init_fallback, bad2);
        ag_format(b->init, sizeof(b->init), "%s", b->conf.init_fallback);
        return;
    }
    char subvolumes[512];

    ag_fatal(b, "cannot run init '%s': %s%s", b->init, bad,
             e == ENOENT ? subvolumes_with_init(b, subvolumes, sizeof(subvolumes)) : "");
}
