/* SPDX-License-Identifier: MIT */
/* The one door for files of --save-failed. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pvsave/pvsave.h"
#include "util/err.h"
#include "util/path.h"

enum { BLOCK = 64 << 10, PAGE = 4096 };

struct reader {
    struct archive *a;
    struct pv_pvsave *s;
    const char *want; /* the VM whose state is extracted; NULL: none; "": the first saved one */
    size_t chosen;    /* it, from 1; 0: not met yet */
    uint64_t data;    /* bytes of content so far */
    bool ended;
};

static int reader_failed(const struct reader *r, struct pv_err *err)
{
    const char *why = archive_error_string(r->a);

    return pv_err_set(err, PV_E_USAGE,
                      "it is damaged or truncated, or no file of provium test --save-failed (%s)",
                      why ? why : "unknown");
}

static int reader_count(struct reader *r, uint64_t n, struct pv_err *err)
{
    r->data += n;
    return r->data > PV_PVSAVE_DATA_MAX ? pv_err_set(err, PV_E_USAGE, "its content is larger than 64 GiB")
                                        : 0;
}

static int text_read(struct reader *r, struct archive_entry *e, size_t max, struct pv_buf *out,
                     struct pv_err *err)
{
    int64_t size = archive_entry_size(e);
    la_ssize_t n;

    if (size < 0 || (uint64_t)size > max)
        return pv_err_set(err, PV_E_USAGE, "its part '%.40s' is larger than %zu bytes",
                          archive_entry_pathname(e), max);
    do {
        n = archive_read_data(r->a, pv_buf_reserve(out, BLOCK), BLOCK);
        if (n < 0)
            return reader_failed(r, err);
        out->len += (size_t)n;
        if (out->len > max)
            return pv_err_set(err, PV_E_USAGE, "a part of it is larger than its header says");
    } while (n > 0);
    pv_buf_addc(out, '\0');
    out->len--;
    return reader_count(r, out->len, err);
}

/* Leaves pages of zeros as holes. */
static int block_write(int fd, const char *data, size_t n, uint64_t at)
{
    static const char zeros[PAGE];

    for (size_t i = 0; i < n; i += PAGE) {
        size_t len = n - i < PAGE ? n - i : PAGE;

        if (memcmp(data + i, zeros, len) != 0 && pv_pwrite_all(fd, data + i, len, (off_t)(at + i)) < 0)
            return -1;
    }
    return 0;
}

/* fd -1: only checks. */
static int content_read(struct reader *r, int fd, uint64_t size, struct pv_err *err)
{
    const void *data;
    la_int64_t at;
    size_t n;
    int rc;

    while ((rc = archive_read_data_block(r->a, &data, &n, &at)) == ARCHIVE_OK) {
        if (at < 0 || (uint64_t)at > size || n > size - (uint64_t)at)
            return pv_err_set(err, PV_E_USAGE, "a part of it is larger than its header says");
        if (reader_count(r, n, err) < 0)
            return -1;
        if (fd >= 0 && block_write(fd, data, n, (uint64_t)at) < 0)
            return pv_err_sys(err, errno, "cannot unpack it into TMPDIR, else /var/tmp");
    }
    return rc == ARCHIVE_EOF ? 0 : reader_failed(r, err);
}

static bool state_name_is_valid(const char *name)
{
    static const char *const fixed[] = {"memory", "state", "initrd"};
    unsigned disk, image;
    int end = 0;

    for (size_t i = 0; i < PV_ARRAY_LEN(fixed); i++)
        if (!strcmp(name, fixed[i]))
            return true;
    if (sscanf(name, "disk%3u.image%n", &disk, &end) == 1 && end)
        return !name[end];
    return sscanf(name, "disk%3u.%3u%n", &disk, &image, &end) == 2 && !name[end];
}

static int state_read(struct reader *r, struct archive_entry *e, const char *name, struct pv_err *err)
{
    struct pv_pvsave_vm *vm = &r->s->vms[r->s->n_vms - 1];
    int64_t size = archive_entry_size(e);
    struct pv_pvsave_file *f;

    if (pv_pvsave_vm_file(vm, name))
        return pv_err_set(err, PV_E_USAGE, "it has '%s' of %.40s twice", name, vm->name);
    if (!vm->json || !state_name_is_valid(name) || vm->n_files == PV_PVSAVE_FILES)
        return pv_err_set(err, PV_E_USAGE, "it has a part that belongs to no saved VM: '%.60s'",
                          archive_entry_pathname(e));
    if (size < 0 || (uint64_t)size > PV_PVSAVE_FILE_MAX)
        return pv_err_set(err, PV_E_USAGE, "its part '%.60s' is larger than 1 TiB",
                          archive_entry_pathname(e));
    f = &vm->files[vm->n_files++];
    *f = (struct pv_pvsave_file){.fd = -1, .size = (uint64_t)size};
    snprintf(f->name, sizeof(f->name), "%s", name);
    if (r->chosen == r->s->n_vms) {
        f->fd = pv_temp_file_open(err); /* a machine's memory need not fit into this process's */
        if (f->fd < 0)
            return -1;
        if (ftruncate(f->fd, size) < 0)
            return pv_err_sys(err, errno, "cannot unpack '%s' of %.40s (%lld bytes)", name, vm->name,
                              (long long)size);
    }
    return content_read(r, f->fd, f->size, err);
}

static int vm_read(struct reader *r, struct archive_entry *e, struct pv_err *err)
{
    cleanup_buf struct pv_buf text = {0};
    struct pv_pvsave_vm *vm;

    if (r->s->n_vms == PV_PVSAVE_VMS)
        return pv_err_set(err, PV_E_USAGE, "it has more than %d VMs", PV_PVSAVE_VMS);
    if (text_read(r, e, PV_PVSAVE_TEXT_MAX, &text, err) < 0)
        return -1;
    vm = &r->s->vms[r->s->n_vms++];
    if (pv_pvsave_vm_decode(text.data, text.len, vm, err) < 0)
        return -1;
    if (r->want && !r->chosen && (*r->want ? !strcmp(vm->name, r->want) : !vm->reason))
        r->chosen = r->s->n_vms;
    return 0;
}

/* One entry behind failure.json. */
static int part_read(struct reader *r, struct archive_entry *e, const char *name, struct pv_err *err)
{
    unsigned number;
    int end = 0;

    if (!strcmp(name, "end")) {
        r->ended = true;
        return 0;
    }
    if (sscanf(name, "%3u/%n", &number, &end) == 1 && end) {
        const char *part = name + end;

        if (!strcmp(part, "machine.json") && number == r->s->n_vms + 1)
            return vm_read(r, e, err);
        if (number >= 1 && number == r->s->n_vms) {
            struct pv_pvsave_vm *vm = &r->s->vms[number - 1];

            if (!strcmp(part, "console") && !vm->console.len)
                return text_read(r, e, PV_PVSAVE_CONSOLE_MAX, &vm->console, err);
            if (!strncmp(part, "state/", 6))
                return state_read(r, e, part + 6, err);
        }
    }
    return pv_err_set(err, PV_E_USAGE, "it has an unknown part, or one at a wrong place: '%.60s'", name);
}

static int parts_read(struct reader *r, struct pv_err *err)
{
    struct archive_entry *e;
    int rc, n = 0;

    while ((rc = archive_read_next_header(r->a, &e)) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(e);
        cleanup_buf struct pv_buf text = {0};

        if (!name || archive_entry_filetype(e) != AE_IFREG || r->ended || !archive_entry_size_is_set(e))
            return pv_err_set(err, PV_E_USAGE, "it has an unknown part, or one at a wrong place: '%.60s'",
                              name ? name : "?");
        if (n++ > 0) {
            if (part_read(r, e, name, err) < 0)
                return -1;
            continue;
        }
        if (strcmp(name, "failure.json") != 0)
            return pv_err_set(err, PV_E_USAGE, "it is no file of provium test --save-failed");
        if (text_read(r, e, PV_PVSAVE_TEXT_MAX, &text, err) < 0 ||
            pv_pvsave_failure_decode(text.data, text.len, &r->s->failure, err) < 0)
            return -1;
    }
    if (rc != ARCHIVE_EOF)
        return reader_failed(r, err);
    return r->ended
               ? 0
               : pv_err_set(err, PV_E_USAGE, "it is truncated, or no file of provium test --save-failed");
}

/* The VM that was asked for was saved. */
static int reader_check_chosen(const struct reader *r, struct pv_err *err)
{
    cleanup_buf struct pv_buf names = {0};

    if (!r->want || r->chosen)
        return 0;
    for (size_t i = 0; i < r->s->n_vms; i++)
        pv_buf_addf(&names, "%s%.40s", i ? ", " : "", r->s->vms[i].name);
    if (!*r->want)
        return pv_err_set(err, PV_E_USAGE,
                          "no VM in it could be saved (%s); --list says why, --console VM shows its "
                          "console",
                          names.data ? names.data : "it has none");
    return pv_err_set(err, PV_E_USAGE, "it has no VM '%s'; it has: %s", r->want,
                      names.data ? names.data : "none");
}

int pv_pvsave_read(int fd, const char *vm, struct pv_pvsave *s, struct pv_err *err)
{
    struct reader r = {.a = archive_read_new(), .s = s, .want = vm};
    int rc;

    *s = (struct pv_pvsave){.vms = pv_xcalloc(PV_PVSAVE_VMS, sizeof(*s->vms))};
    if (!r.a || archive_read_support_format_tar(r.a) != ARCHIVE_OK ||
        archive_read_support_filter_zstd(r.a) != ARCHIVE_OK ||
        archive_read_open_fd(r.a, fd, BLOCK) != ARCHIVE_OK)
        rc = reader_failed(&r, err);
    else
        rc = parts_read(&r, err);
    archive_read_free(r.a);
    return rc < 0 ? -1 : reader_check_chosen(&r, err);
}
