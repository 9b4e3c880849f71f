/* SPDX-License-Identifier: MIT */
/*
 * The root of an initramfs is a tmpfs of half the memory.  When an archive does not fit, the kernel prints a line and
 * goes on: files have their size and a hole instead of content, or are missing.
 */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "console.h"
#include "util.h"
#include "wire/sum.h"

enum { NAMED_MAX = 4 };

struct arrival {
    unsigned entries, bad;
    uint64_t bytes, bad_bytes;
    char names[1024]; /* the first NAMED_MAX bad entries */
};

struct record {
    char type;
    uint64_t size, digest;
    const char *path;
};

/* False: there is no whole record at p. */
static bool parse_record(const char *p, const char *end, struct record *r)
{
    char number[17] = "";
    char *stop;

    if (end - p <= PV_SUMS_PATH || !memchr(p, '\0', (size_t)(end - p)) || memchr(p, '\0', PV_SUMS_PATH))
        return false;
    memcpy(number, p + 1, 16);
    *r = (struct record){.type = *p, .size = strtoull(number, &stop, 16), .path = p + PV_SUMS_PATH};
    if (*stop)
        return false;
    memcpy(number, p + PV_SUMS_PATH - 16, 16);
    r->digest = strtoull(number, &stop, 16);
    return !*stop;
}

static uint64_t sum_of(const void *data, size_t n)
{
    struct pv_wire_sum s;

    pv_wire_sum_init(&s);
    pv_wire_sum_add(&s, data, n);
    return pv_wire_sum_end(&s);
}

/*
 * False with errno.  By read(), not by mmap(): a hole of a full tmpfs has no page, and touching one there is SIGBUS,
 * while read() gives zeros.
 */
static bool sum_file(int fd, uint64_t *sum)
{
    static uint8_t buf[256 << 10];
    struct pv_wire_sum s;
    ssize_t n;

    pv_wire_sum_init(&s);
    while ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            pv_wire_sum_add(&s, buf, (size_t)n);
    *sum = pv_wire_sum_end(&s);
    return n == 0;
}

/* NULL: the file is as the record says. */
static const char *file_fault(const struct record *r)
{
    int fd = open(r->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    const char *fault = NULL;
    struct stat st;
    uint64_t sum = 0;

    if (fd < 0)
        return "missing";
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != r->size)
        fault = "another size";
    else if (!sum_file(fd, &sum) || sum != r->digest)
        fault = "another content";
    close(fd);
    return fault;
}

static const char *link_fault(const struct record *r)
{
    char to[PV_PATH_MAX];
    ssize_t n = readlink(r->path, to, sizeof(to));

    return n < 0 ? "missing" : sum_of(to, (size_t)n) == r->digest ? NULL : "another target";
}

/* Through a link: a root's /lib may be one to usr/lib. */
static const char *dir_fault(const struct record *r)
{
    struct stat st;

    return stat(r->path, &st) < 0 ? "missing" : S_ISDIR(st.st_mode) ? NULL : "no directory";
}

static const char *record_fault(const struct record *r)
{
    return r->type == PV_SUMS_DIR ? dir_fault(r) : r->type == PV_SUMS_LINK ? link_fault(r) : file_fault(r);
}

static void add_fault(struct arrival *a, const struct record *r, const char *fault)
{
    static const char files[] = PV_BOOT_FILES "/";
    size_t n = strlen(a->names);
    const char *path = strncmp(r->path, files, sizeof(files) - 1) ? r->path : r->path + sizeof(files) - 2;

    a->bad++;
    a->bad_bytes += r->size;
    if (a->bad <= NAMED_MAX)
        ag_format(a->names + n, sizeof(a->names) - n, "%s%.200s (%llu bytes: %s)", n ? ", " : "", path,
                  (unsigned long long)r->size, fault);
}

static void check_records(const struct ag_boot *b, const char *p, const char *end, struct arrival *a)
{
    struct record r;

    for (; p < end; p = r.path + strlen(r.path) + 1) {
        if (!parse_record(p, end, &r))
            ag_fatal(b, "the initramfs did not arrive whole: its list " PV_BOOT_SUMS " ends after %u entries",
                     a->entries);
        const char *fault = record_fault(&r);

        a->entries++;
        a->bytes += r.size;
        if (fault)
            add_fault(a, &r, fault);
    }
}

static _Noreturn void fatal_arrival(const struct ag_boot *b, const struct arrival *a)
{
    struct statfs fs = {0};
    struct sysinfo mem = {0};
    char rest[64] = "";

    statfs("/", &fs);
    sysinfo(&mem);
    if (a->bad > NAMED_MAX)
        ag_format(rest, sizeof(rest), " and %u more", a->bad - NAMED_MAX);
    ag_fatal(b,
             "the initramfs did not arrive whole: %s%s; of %llu KiB in %u entries, %llu KiB in %u; memory of "
             "the VM: "
             "%llu MiB, its root: %llu MiB, free there: %llu KiB (boot it with more memory, or give large "
             "files as a "
             "disk or by vm:push)",
             a->names, rest, (unsigned long long)a->bytes >> 10, a->entries,
             (unsigned long long)a->bad_bytes >> 10, a->bad,
             (unsigned long long)mem.totalram * mem.mem_unit >> 20,
             (unsigned long long)fs.f_blocks * (unsigned long long)fs.f_bsize >> 20,
             (unsigned long long)fs.f_bfree * (unsigned long long)fs.f_bsize >> 10);
}

void ag_check_arrival(struct ag_boot *b)
{
    static struct arrival a;
    struct stat st;
    int fd = b->conf.sums ? open(PV_BOOT_SUMS, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;

    if (!b->conf.sums)
        return;
    size_t n = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;
    char *list = n ? mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;

    if (list == MAP_FAILED || read(fd, list, n) != (ssize_t)n)
        ag_fatal(b, "the initramfs did not arrive whole: its list " PV_BOOT_SUMS " cannot be read: %s",
                 strerror(errno));
    close(fd);
    check_records(b, list, list + n, &a);
    if (a.bad)
        fatal_arrival(b, &a);
    b->sums = list;
    b->sums_n = n;
}

void ag_check_placed(const struct ag_boot *b, const char *where)
{
    static const char files[] = PV_BOOT_FILES "/";
    struct record r;

    for (const char *p = b->sums; p && p < b->sums + b->sums_n; p = r.path + strlen(r.path) + 1) {
        if (!parse_record(p, b->sums + b->sums_n, &r))
            return; /* it was whole when it arrived */
        if (strncmp(r.path, files, sizeof(files) - 1) != 0)
            continue;
        struct record placed = r;
        placed.path += sizeof(files) - 2;
        const char *fault = record_fault(&placed);

        if (fault)
            ag_fatal(b, "cannot inject '%s'%s: it has been written, and what is there now is %s", placed.path,
                     where, fault);
    }
}

void ag_forget_sums(struct ag_boot *b)
{
    if (b->sums)
        munmap(b->sums, b->sums_n);
    b->sums = NULL;
}
