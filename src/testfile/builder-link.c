/* SPDX-License-Identifier: MIT */
#include "testfile/builder-link.h"

#include <string.h>

#include "util/mem.h"
#include "util/sock.h"

void pv_tf_builder_say(const struct tf_builder *b, enum tf_msg kind, enum pv_class cls, const char *name,
                       const char *text)
{
    cleanup_buf struct pv_buf msg = {0};

    pv_buf_addc(&msg, (char)kind);
    pv_buf_addc(&msg, (char)cls);
    if (name)
        pv_buf_add(&msg, name, strlen(name) + 1);
    pv_buf_add(&msg, text, strnlen(text, TF_MSG_TEXT_MAX));
    pv_send(b->sock, msg.data, msg.len, 0);
}

static bool kind_is_known(unsigned char kind)
{
    static const char kinds[] = {TF_MSG_PHASE,  TF_MSG_LOGS,  TF_MSG_TAIL, TF_MSG_DONE,
                                 TF_MSG_FAILED, TF_MSG_MOVED, TF_MSG_SKIP, TF_MSG_TODO};

    return memchr(kinds, kind, sizeof(kinds)) != NULL;
}

bool pv_tf_builder_decode(struct tf_builder_message *m, const unsigned char *msg, size_t n)
{
    const char *text = (const char *)msg + 2, *end;

    if (n < 2 || n > TF_MSG_MAX || !kind_is_known(msg[0]) || msg[1] >= PV_CLASS_COUNT)
        return false;
    *m = (struct tf_builder_message){
        .kind = (enum tf_msg)msg[0], .cls = (enum pv_class)msg[1], .text = text, .text_len = n - 2};
    if (m->kind == TF_MSG_TAIL) {
        end = memchr(text, '\0', m->text_len);
        if (!end)
            return false;
        m->vm = text;
        m->text = end + 1;
        m->text_len -= (size_t)(m->text - text);
    }
    return !memchr(m->text, '\0', m->text_len);
}
