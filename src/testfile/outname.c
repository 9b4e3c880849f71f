/* SPDX-License-Identifier: MIT */
#include "testfile/outname.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "util/digest.h"
#include "util/mem.h"

enum { NAME_MAX_BYTES = 150 };

char *pv_tf_outname(const char *path)
{
    cleanup_buf struct pv_buf name = {0};
    char digest[PV_DIGEST_TEXT];

    while (!strncmp(path, "./", 2))
        path += 2;
    for (const char *p = path; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     (*p && strchr("._-", *p) && p > path);

        if (plain)
            pv_buf_addc(&name, *p);
        else if (*p == '/')
            pv_buf_addc(&name, '+');
        else
            pv_buf_addf(&name, "%%%02X", (unsigned char)*p);
    }
    pv_digest(path, strlen(path), digest);
    if (name.len > NAME_MAX_BYTES)
        return pv_xasprintf("%.*s-%.16s", NAME_MAX_BYTES, name.data, digest);
    return pv_xstrdup(name.data ? name.data : "file");
}

char *pv_tf_lcov_name(const char *text)
{
    char *name = pv_xstrdup(text);

    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    return name;
}
