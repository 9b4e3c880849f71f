/* SPDX-License-Identifier: MIT */
/*
 * Between a fixture's builder and the process that asked for the fixture: messages over a SOCK_SEQPACKET,
 * from the builder only.  A message is its kind (1 byte), the class of a failure (1 byte), for TF_MSG_TAIL a
 * VM's name and a NUL, then text.
 */
#ifndef PV_TESTFILE_BUILDER_LINK_H
#define PV_TESTFILE_BUILDER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"

enum { TF_MSG_TEXT_MAX = 60000, TF_MSG_MAX = TF_MSG_TEXT_MAX + 4096 };

enum tf_msg {
    TF_MSG_PHASE = 'P', /* the script's phase (timeline.h) */
    TF_MSG_LOGS = 'L',  /* the directory of its console logs */
    TF_MSG_TAIL = 'C',  /* a VM's last console lines */
    /* the rest ends the build */
    TF_MSG_DONE = 'D',
    TF_MSG_FAILED = 'F', /* why */
    TF_MSG_MOVED = 'M',  /* which input changed meanwhile */
    TF_MSG_SKIP = 'S',   /* the reason of skip() */
    TF_MSG_TODO = 'T'
};

/* In a builder's process: the fixture that it builds, and its end of the socket. */
struct tf_builder {
    const char *name;         /* of the fixture */
    const char *script;       /* absolute, no links */
    struct tf_builder *outer; /* the build that asked for this one; NULL: a test file asked */
    const char *logs;         /* where builders make their directories for console logs; NULL: none */
    int sock;
    int64_t deadline; /* of the build */
    bool beside;      /* tasks of the file that asks go on beside the build, and may end VMs */
};

/* name is for TF_MSG_TAIL, else NULL.  Blocks while the asker is busy; its death is no error here. */
void pv_tf_builder_say(const struct tf_builder *b, enum tf_msg kind, enum pv_class cls, const char *name,
                       const char *text);

/* A received message; the texts point into it and have no NUL inside. */
struct tf_builder_message {
    enum tf_msg kind;
    enum pv_class cls;
    const char *vm; /* for TF_MSG_TAIL, else NULL; terminated */
    const char *text;
    size_t text_len;
};

/* False: it is malformed, and *m undefined. */
bool pv_tf_builder_decode(struct tf_builder_message *m, const unsigned char *msg, size_t n);

#endif
