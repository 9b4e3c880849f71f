/* SPDX-License-Identifier: MIT */
#include "image/kcachefile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/mem.h"

#define DIGITS "0123456789abcdef"

bool pv_kcache_parse_source(const char *text, size_t n, const char *want, char hash[static PV_DIGEST_TEXT])
{
    size_t at = strlen(want), digits = PV_DIGEST_TEXT - 1;

    if (n != at + digits + 1 || memcmp(text, want, at) != 0 || text[n - 1] != '\n')
        return false;
    memcpy(hash, text + at, digits);
    hash[digits] = '\0';
    return strspn(hash, DIGITS) == digits;
}

bool pv_kcache_parse_ok(struct pv_kcache_ok *ok, const char *text, size_t n)
{
    static const char none[] = "provium-kernel 1 none ";
    cleanup_free char *line = NULL;
    int used = 0;

    *ok = (struct pv_kcache_ok){0};
    if (!n || text[n - 1] != '\n' || memchr(text, '\0', n))
        return false;
    line = pv_xstrndup(text, n - 1);
    if (!strncmp(line, none, sizeof(none) - 1)) {
        snprintf(ok->reason, sizeof(ok->reason), "%s", line + sizeof(none) - 1);
        return ok->reason[0] && !strpbrk(ok->reason, "\n\r\033");
    }
    ok->vmlinux = true;
    return sscanf(line, "provium-kernel 1 vmlinux %18" SCNu64 " %64[0-9a-f] %255s%n", &ok->length, ok->sum,
                  ok->ident, &used) == 3 &&
           (size_t)used == n - 1 && strlen(ok->sum) == PV_DIGEST_TEXT - 1 && !strpbrk(ok->ident, "\r\033");
}
