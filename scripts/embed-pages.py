#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""embed-pages.py OUTPUT PAGE.md...: pages of docs as C arrays, and the table pv_pages of their names and titles."""
import os
import sys

rows = []
with open(sys.argv[1], 'w') as out:
    for i, path in enumerate(sys.argv[2:]):
        data = open(path, 'rb').read()
        title = data.decode().split('\n', 1)[0].lstrip('# ')
        out.write('static const unsigned char page_%d[] = {' % i)
        for n, byte in enumerate(data):
            out.write(('\n' if n % 20 == 0 else '') + '%d,' % byte)
        out.write('0\n};\n')
        name = os.path.basename(path)[:-3]
        rows.append('    {"%s", "%s", page_%d, sizeof(page_%d) - 1},\n' % (name, title.replace('"', '\\"'), i, i))
    out.write('static const struct pv_page pv_pages[] = {\n%s};\n' % ''.join(rows))
