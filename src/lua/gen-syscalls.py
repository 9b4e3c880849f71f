#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gen-syscalls.py OUTPUT CC...: the system calls of the build machine's own headers, as a C table sorted by name."""
import re
import subprocess
import sys

text = subprocess.run(sys.argv[2:] + ['-E', '-dM', '-x', 'c', '-'], input='#include <asm/unistd_64.h>\n',
                      stdout=subprocess.PIPE, check=True, universal_newlines=True).stdout
calls = sorted((name, int(nr)) for name, nr in re.findall(r'^#define __NR_(\w+) (\d+)$', text, re.M))
if ('read', 0) not in calls or ('ioctl', 16) not in calls:
    sys.exit('gen-syscalls.py: <asm/unistd_64.h> does not have the x86-64 system calls')
with open(sys.argv[1], 'w') as out:
    out.write('static const struct {\n    const char *name;\n    unsigned nr;\n} syscall_names[] = {\n')
    for call in calls:
        out.write('    {"%s", %d},\n' % call)
    out.write('};\n')
