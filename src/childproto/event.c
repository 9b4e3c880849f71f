/* SPDX-License-Identifier: MIT */
#include "childproto/event.h"

#include <string.h>

#include "util/text.h"

struct event_head {
    uint32_t type, outcome, cls, id, name_len;
    uint64_t text_len;
    int64_t duration_ns, time_ns, console;
    uint32_t kind, ok;
};

_Static_assert(sizeof(struct event_head) <= PV_EVENT_MAX - PV_EVENT_NAME_MAX - PV_EVENT_TEXT_MAX,
               "head fits");

static const char *const class_names[] = {
    [PV_CLASS_NONE] = "",
    [PV_CLASS_ASSERTION] = "assertion",
    [PV_CLASS_LUA] = "lua-error",
    [PV_CLASS_TIMEOUT] = "timeout",
    [PV_CLASS_PANIC] = "guest-panic",
    [PV_CLASS_OOPS] = "guest-oops",
    [PV_CLASS_WARNING] = "guest-warning",
    [PV_CLASS_STUCK] = "guest-stuck",
    [PV_CLASS_AGENT_LOST] = "agent-lost",
    [PV_CLASS_QEMU_DIED] = "qemu-died",
    [PV_CLASS_HARNESS] = "harness-error",
};
_Static_assert(sizeof(class_names) / sizeof(class_names[0]) == PV_CLASS_COUNT, "name every class");

const char *pv_class_name(enum pv_class cls)
{
    return class_names[cls];
}

size_t pv_event_encode(const struct pv_event *ev, unsigned char buf[static PV_EVENT_MAX])
{
    size_t name_len = ev->name ? pv_text_clip(ev->name, ev->name_len, PV_EVENT_NAME_MAX) : 0;
    size_t text_len = ev->text ? pv_text_clip(ev->text, ev->text_len, PV_EVENT_TEXT_MAX) : 0;
    struct event_head h = {.type = ev->type,
                           .outcome = ev->outcome,
                           .cls = ev->cls,
                           .id = ev->id,
                           .name_len = (uint32_t)name_len,
                           .text_len = text_len,
                           .duration_ns = ev->duration_ns,
                           .time_ns = ev->time_ns,
                           .console = ev->console,
                           .kind = ev->kind,
                           .ok = ev->ok};

    memcpy(buf, &h, sizeof(h));
    if (name_len)
        memcpy(buf + sizeof(h), ev->name, name_len);
    if (text_len)
        memcpy(buf + sizeof(h) + name_len, ev->text, text_len);
    return sizeof(h) + name_len + text_len;
}

/* n: the length of the message. */
static bool head_is_valid(const struct event_head *h, size_t n)
{
    /* The receiver subtracts its own times from these. */
    return h->type < PV_EV_COUNT && h->outcome < PV_OUTCOME_COUNT && h->cls < PV_CLASS_COUNT &&
           h->kind < PV_STEP_COUNT && h->ok <= 1 && h->duration_ns >= 0 && h->time_ns >= 0 &&
           h->console >= -1 && h->name_len <= PV_EVENT_NAME_MAX && h->text_len <= PV_EVENT_TEXT_MAX &&
           sizeof(*h) + h->name_len + h->text_len == n;
}

bool pv_event_decode(struct pv_event *ev, const unsigned char *buf, size_t n)
{
    struct event_head h;

    if (n < sizeof(h))
        return false;
    memcpy(&h, buf, sizeof(h));
    if (!head_is_valid(&h, n) || memchr(buf + sizeof(h), '\0', n - sizeof(h)))
        return false;
    *ev = (struct pv_event){.type = (enum pv_event_type)h.type,
                            .outcome = (enum pv_outcome)h.outcome,
                            .cls = (enum pv_class)h.cls,
                            .id = h.id,
                            .duration_ns = h.duration_ns,
                            .kind = (enum pv_step)h.kind,
                            .ok = h.ok != 0,
                            .time_ns = h.time_ns,
                            .console = h.console,
                            .name = (const char *)buf + sizeof(h),
                            .name_len = h.name_len,
                            .text = (const char *)buf + sizeof(h) + h.name_len,
                            .text_len = h.text_len};
    return true;
}
