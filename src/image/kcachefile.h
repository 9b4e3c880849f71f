/* SPDX-License-Identifier: MIT */
/* The content of the small files of CACHE/kernels (kcache.c).  Damage makes a file one that is not there. */
#ifndef PV_IMAGE_KCACHEFILE_H
#define PV_IMAGE_KCACHEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/digest.h"

enum { PV_KCACHE_IDENT = 256, PV_KCACHE_REASON = 1024 };

/* A HASH.ok file. */
struct pv_kcache_ok {
    bool vmlinux;                  /* there is one: the members but the last; else only the last */
    uint64_t length;               /* bytes */
    char sum[PV_DIGEST_TEXT];      /* 64 hexadecimal digits */
    char ident[PV_KCACHE_IDENT];   /* "-": none */
    char reason[PV_KCACHE_REASON]; /* one line */
};

/* want: "provium-source 1 SIZE MTIME CTIME ".  True: `hash` is that of a file with these properties. */
bool pv_kcache_parse_source(const char *text, size_t n, const char *want, char hash[static PV_DIGEST_TEXT]);
/* False, and *ok undefined, for anything but a whole file. */
bool pv_kcache_parse_ok(struct pv_kcache_ok *ok, const char *text, size_t n);

#endif
