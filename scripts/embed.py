#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""embed.py INPUT OUTPUT NAME: the bytes of INPUT as a C array."""
import sys

data = open(sys.argv[1], 'rb').read()
with open(sys.argv[2], 'w') as out:
    out.write('static const unsigned char %s[] = {' % sys.argv[3])
    for i, byte in enumerate(data):
        out.write(('\n' if i % 20 == 0 else '') + '%d,' % byte)
    out.write('\n};\n')
