/* SPDX-License-Identifier: MIT */
/* The embedded agent binary (guest init and agent in one static program); meson.build sets AGENT_PATH. */
    .section .rodata.pv_agent_binary, "a", @progbits
    .balign 64
    .globl pv_agent_binary
    .hidden pv_agent_binary
    .type pv_agent_binary, @object
pv_agent_binary:
    .incbin AGENT_PATH
    .globl pv_agent_binary_end
    .hidden pv_agent_binary_end
pv_agent_binary_end:
    .size pv_agent_binary, . - pv_agent_binary
    .byte 0

    .section .note.GNU-stack, "", @progbits
