#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""embed-page.py PAGE SCRIPT STYLE OUTPUT: the page with script and style put in, and their hashes, as a C array."""
import base64
import hashlib
import sys

page, script, style = (open(path, encoding='utf-8').read() for path in sys.argv[1:4])
assert '</script' not in script and '</style' not in style
for name, text in (('SCRIPT', script), ('STYLE', style)):
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert page.count('@' + name + '@') == 1 and page.count('@' + name + '-HASH@') == 1
    page = page.replace('@' + name + '-HASH@', 'sha256-' + digest).replace('@' + name + '@', text)
assert page.count('<!--DATA-->') == 1
with open(sys.argv[4], 'w') as out:
    out.write('static const unsigned char pv_report_html[] = {')
    for i, byte in enumerate(page.encode()):
        out.write(('\n' if i % 20 == 0 else '') + '%d,' % byte)
    out.write('\n};\n')
