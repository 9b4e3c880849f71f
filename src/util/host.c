/* SPDX-License-Identifier: MIT */
#include "util/host.h"

#include <string.h>

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
