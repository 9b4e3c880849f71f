/* SPDX-License-Identifier: MIT */
/* Small files of the cache: about KVM, and about kernels that were unpacked.  What is believed is one line, in bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "image/kcachefile.h"
#include "vm/accel-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *line_check(const char *text, size_t cap)
{
    if (!memchr(text, '\0', cap) || strpbrk(text, "\n\r\033"))
        abort();
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char boot[] = "11111111-2222-3333-4444-555555555555";
    static const char source[] = "provium-source 1 5 6 7 ";
    char hash[PV_DIGEST_TEXT], *text = malloc(size ? size : 1);
    struct pv_accel_file accel;
    struct pv_kcache_ok ok;

    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    if (pv_accel_file_parse(&accel, text, size, boot)) {
        line_check(accel.why, sizeof(accel.why));
        if (accel.kvm > PV_KVM_ABSENT)
            abort();
    }
    if (pv_kcache_parse_source(text, size, source, hash) &&
        strspn(hash, "0123456789abcdef") != PV_DIGEST_TEXT - 1)
        abort();
    if (pv_kcache_parse_ok(&ok, text, size) &&
        (ok.vmlinux ? strlen(ok.sum) != PV_DIGEST_TEXT - 1 || !*line_check(ok.ident, sizeof(ok.ident))
                    : !*line_check(ok.reason, sizeof(ok.reason))))
        abort();
    free(text);
    return 0;
}
