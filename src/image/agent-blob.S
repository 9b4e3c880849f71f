/* SPDX-License-Identifier: MIT */
/* The guest's static binary, byte for byte; AGENT_PATH comes from the build. */
    .section .rodata.pv_agent_blob, "a", @progbits
    .balign 64
    .globl pv_agent_blob
    .hidden pv_agent_blob
    .type pv_agent_blob, @object
pv_agent_blob:
    .incbin AGENT_PATH
    .globl pv_agent_blob_end
    .hidden pv_agent_blob_end
pv_agent_blob_end:
    .size pv_agent_blob, . - pv_agent_blob
    .byte 0

    .section .note.GNU-stack, "", @progbits
