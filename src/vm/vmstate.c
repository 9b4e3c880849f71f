/* SPDX-License-Identifier: MIT */
/*
 * A stream of devices alone: "QEVM", u32 3 (big-endian), sections of devices, 0x00.  A whole stream has the
 * head between the version and the sections, and behind them 0x06, u32 length, a description in JSON, which may
 * be empty.
 */
#include "vm/vmstate.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

/* A device's section begins with 0x04, u32 number, u8 length of the name, name, u32 instance, u32 version. */
enum { MAGIC = 8, SECTION_FULL = 4, NAME_LENGTH_AT = 5, SECTION_HEAD = 14 };

static const char record_magic[8] = {'P', 'V', 'S', 'T', 'A', 'T', 'E', '1'};
static const char stream_magic[MAGIC] = {'Q', 'E', 'V', 'M', 0, 0, 0, 3};
static const char no_description[] = {6, 0, 0, 0, 0};

int pv_vmstate_append(int fd, const struct pv_vmstate_record *r, struct pv_err *err)
{
    struct pv_vmstate_record full = *r;
    struct stat st;

    memcpy(full.magic, record_magic, sizeof(full.magic));
    if (fstat(fd, &st) < 0 || pv_pwrite_all(fd, &full, sizeof(full), st.st_size) < 0)
        return pv_err_sys(err, errno, "cannot keep the state of the VM");
    return 0;
}

int pv_vmstate_read(int fd, struct pv_vmstate_record *r, struct pv_err *err)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot read the saved state of the VM");
    n = st.st_size < (off_t)sizeof(*r) ? 0 : pv_pread_all(fd, r, sizeof(*r), st.st_size - (off_t)sizeof(*r));
    if (n < 0)
        return pv_err_sys(err, errno, "cannot read the saved state of the VM");
    if (n != (ssize_t)sizeof(*r) || memcmp(r->magic, record_magic, sizeof(r->magic)) != 0 ||
        !memchr(r->capability, '\0', sizeof(r->capability)) ||
        strspn(r->capability, "abcdefghijklmnopqrstuvwxyz-") != strlen(r->capability) ||
        r->head > (uint64_t)st.st_size - sizeof(*r) || !r->head != !r->capability[0])
        return pv_err_set(err, PV_E_HOST, "the saved state of the VM is damaged: no valid record at its end");
    return 0;
}

/* Length of the first section's head, 0 when these are no devices. */
static size_t first_section_head(const struct pv_buf *devices)
{
    size_t n;

    if (devices->len <= MAGIC + SECTION_HEAD || memcmp(devices->data, stream_magic, MAGIC) != 0 ||
        devices->data[MAGIC] != SECTION_FULL || devices->data[devices->len - 1] != '\0')
        return 0;
    n = SECTION_HEAD + (unsigned char)devices->data[MAGIC + NAME_LENGTH_AT];
    return MAGIC + n < devices->len ? n : 0;
}

size_t pv_vmstate_head(const struct pv_buf *stream, const struct pv_buf *devices)
{
    size_t n = first_section_head(devices);
    const char *section, *at, *next;

    if (!n || !stream->len)
        return 0;
    section = devices->data + MAGIC;
    at = memmem(stream->data, stream->len, section, n);
    if (!at || at == stream->data)
        return 0;
    /* A guest can write these bytes into memory that is in the head: then there are two places. */
    next = at + 1;
    return memmem(next, stream->len - (size_t)(next - stream->data), section, n)
               ? 0
               : (size_t)(at - stream->data);
}

bool pv_vmstate_join(const struct pv_buf *head, const struct pv_buf *devices, struct pv_buf *out)
{
    if (!first_section_head(devices))
        return false;
    pv_buf_add(out, head->data, head->len);
    pv_buf_add(out, devices->data + MAGIC, devices->len - MAGIC);
    pv_buf_add(out, no_description, sizeof(no_description));
    return true;
}
