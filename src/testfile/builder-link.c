/* SPDX-License-Identifier: MIT */
#include "testfile/builder-link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/mem.h"

void pv_tf_builder_say(const struct tf_builder *b, enum tf_msg kind, enum pv_class cls, const char *name,
                       const char *text)
{
    cleanup_buf struct pv_buf msg = {0};

    pv_buf_addc(&msg, (char)kind);
    pv_buf_addc(&msg, (char)cls);
    if (name)
        pv_buf_add(&msg, name, strlen(name) + 1);
    pv_buf_add(&msg, text, strnlen(text, TF_MSG_TEXT_MAX));
    while (send(b->sock, msg.data, msg.len, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}
