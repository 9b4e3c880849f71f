/* SPDX-License-Identifier: MIT */
/* Messages of a file process.  A valid event stays the same when it is encoded and decoded again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "childproto/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char again[PV_EVENT_MAX];
    struct pv_event ev = {0}, ev2 = {0};
    size_t n;

    if (size > PV_EVENT_MAX || !pv_event_decode(&ev, data, size))
        return 0;
    if (ev.name_len > PV_EVENT_NAME_MAX || ev.text_len > PV_EVENT_TEXT_MAX || ev.type >= PV_EV_COUNT ||
        ev.cls >= PV_CLASS_COUNT)
        abort();
    n = pv_event_encode(&ev, again);
    if (!pv_event_decode(&ev2, again, n) || ev2.type != ev.type || ev2.id != ev.id ||
        ev2.name_len > ev.name_len || ev2.text_len > ev.text_len)
        abort();
    return 0;
}
