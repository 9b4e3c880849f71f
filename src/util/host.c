/* SPDX-License-Identifier: MIT */
#include "util/host.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/path.h"

bool pv_boot_id(char id[static PV_BOOT_ID_LEN + 1])
{
    cleanup_buf struct pv_buf text = {0};

    if (pv_read_file("/proc/sys/kernel/random/boot_id", 256, &text, NULL) < 0 || text.len < PV_BOOT_ID_LEN)
        return false;
    memcpy(id, text.data, PV_BOOT_ID_LEN);
    id[PV_BOOT_ID_LEN] = '\0';
    return strspn(id, "0123456789abcdef-") == PV_BOOT_ID_LEN;
}

/* The initial user namespace maps all IDs to themselves; there the overflow user is an ordinary one. */
static bool in_user_namespace(void)
{
    cleanup_buf struct pv_buf map = {0};
    unsigned long first, parent, count;
    char *end;

    if (pv_read_file("/proc/self/uid_map", 4096, &map, NULL) < 0 || map.len == 0)
        return false;
    pv_buf_add(&map, "", 1);
    first = strtoul((char *)map.data, &end, 10);
    parent = strtoul(end, &end, 10);
    count = strtoul(end, NULL, 10);
    return first != 0 || parent != 0 || count != 4294967295UL;
}

static uid_t overflow_uid(void)
{
    cleanup_buf struct pv_buf text = {0};

    if (pv_read_file("/proc/sys/kernel/overflowuid", 64, &text, NULL) < 0 || text.len == 0)
        return 65534;
    pv_buf_add(&text, "", 1);
    return (uid_t)strtoul((char *)text.data, NULL, 10);
}

bool pv_owner_is_trusted(const struct stat *dir)
{
    if (dir->st_uid == 0 || dir->st_uid == geteuid())
        return true;
    return dir->st_mode & S_ISVTX && dir->st_uid == overflow_uid() && in_user_namespace();
}

char *pv_cpu_fact(const char *name)
{
    cleanup_buf struct pv_buf info = {0};
    const char *at;

    if (pv_read_file("/proc/cpuinfo", 16 << 20, &info, NULL) < 0 || !(at = strstr(info.data, name)) ||
        !(at = strchr(at, ':')))
        return pv_xstrdup("");
    at += 1 + strspn(at + 1, " \t");
    return pv_xstrndup(at, strcspn(at, "\n"));
}
