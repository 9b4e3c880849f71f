/* SPDX-License-Identifier: MIT */
#include "util/parse.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/clock.h"
#include "util/err.h"

static int refuse_size(const char *s, struct pv_err *err)
{
    return pv_err_set(
        err, PV_E_USAGE,
        "'%.64s' is not a size; expected a number with K, M, G or T, such as \"512M\" or \"1G\"", s);
}

int pv_parse_size(const char *s, uint64_t *bytes, struct pv_err *err)
{
    unsigned shift = 20;
    uint64_t n;
    char *end;

    if (!isdigit((unsigned char)s[0]))
        return refuse_size(s, err);
    errno = 0;
    n = strtoull(s, &end, 10);
    if (errno)
        return refuse_size(s, err);
    if (*end) {
        const char *units = "KMGT", *u = strchr(units, toupper((unsigned char)*end));

        if (!u)
            return refuse_size(s, err);
        shift = 10 * (unsigned)(u - units + 1);
        end++;
        if (strcasecmp(end, "") != 0 && strcasecmp(end, "B") != 0 && strcasecmp(end, "iB") != 0)
            return refuse_size(s, err);
    }
    if (n == 0 || n > (UINT64_C(1) << (62 - shift)))
        return refuse_size(s, err);
    *bytes = n << shift;
    return 0;
}

int pv_seconds_to_ns(double seconds, int64_t *ns, struct pv_err *err)
{
    if (isnan(seconds))
        return pv_err_set(err, PV_E_USAGE, "NaN is not a time in seconds; expected 0 to a year");
    if (isinf(seconds) || seconds < 0 || seconds > 366.0 * 86400)
        return pv_err_set(err, PV_E_USAGE, "%g is not a time in seconds; expected 0 to a year", seconds);
    *ns = (int64_t)(seconds * 1e9);
    return 0;
}

int pv_parse_time(const char *s, int64_t *ns, struct pv_err *err)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
    double v;
    char *end;

    if (isdigit((unsigned char)s[0]) && strspn(s, "0123456789.") < 18) {
        v = strtod(s, &end);
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (!strcmp(end, units[i].unit) && v > 0 && v * units[i].seconds <= 366.0 * 86400) {
                *ns = (int64_t)(v * units[i].seconds * 1e9);
                if (*ns > 0)
                    return 0;
            }
    }
    return pv_err_set(err, PV_E_USAGE,
                      "'%.64s' is not a time; expected seconds or a number with ms, s, m or h, such as "
                      "\"30\", \"500ms\" or \"2m\"",
                      s);
}

const char *pv_format_size(uint64_t bytes, char buf[static 32])
{
    static const char units[] = "KMGT";
    int u = -1;

    while (u < 3 && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        u++;
    }
    if (u < 0)
        snprintf(buf, 32, "%" PRIu64, bytes);
    else
        snprintf(buf, 32, "%" PRIu64 "%c", bytes, units[u]);
    return buf;
}

/* Damerau-Levenshtein distance; INT_MAX for words of more than 31 bytes. */
static int edit_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    int d[33][33];

    if (la > 31 || lb > 31)
        return INT_MAX;
    for (size_t i = 0; i <= la; i++) {
        for (size_t j = 0; j <= lb; j++) {
            int best;

            if (i == 0 || j == 0) {
                d[i][j] = (int)(i + j);
                continue;
            }
            best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[la][lb];
}

const char *pv_nearest(const char *word, const char *const *known)
{
    const char *best = NULL;
    int best_d = 3;

    for (; *known; known++) {
        int d = edit_distance(word, *known);

        if (d < best_d && d < (int)strlen(*known)) {
            best = *known;
            best_d = d;
        }
    }
    return best;
}
