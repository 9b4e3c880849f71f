#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check-html.py PAGE: the page is whole, requests nothing else, and holds the tests' strings only as data.

It parses the page as a browser does, into elements and text. Prints the file reports, one JSON a line."""
import base64
import hashlib
import html.parser
import json
import sys

ELEMENTS = {'html', 'head', 'meta', 'title', 'style', 'body', 'noscript', 'main', 'script'}
ATTRIBUTES = {('html', 'lang'), ('meta', 'charset'), ('meta', 'http-equiv'), ('meta', 'content'), ('meta', 'name'),
              ('main', 'id'), ('script', 'type'), ('script', 'class')}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.policy, self.data, self.code, self.style = [], [], None, [], [], []

    def handle_starttag(self, tag, attrs):
        assert tag in ELEMENTS, 'element ' + tag
        for name, value in attrs:
            assert (tag, name) in ATTRIBUTES, 'attribute %s of %s' % (name, tag)
        attrs = dict(attrs)
        if attrs.get('http-equiv') == 'Content-Security-Policy':
            self.policy = attrs['content']
        self.seen.append(tag)
        if tag == 'script':
            assert attrs in ({}, {'type': 'application/json', 'class': attrs.get('class')}), attrs
            (self.data if attrs else self.code).append('')
            if attrs:
                assert attrs['class'] in ('run', 'end', 'file'), attrs
            self.is_data = bool(attrs)
        if tag != 'meta':
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, '</%s> closes %s' % (tag, self.open)
        self.open.pop()

    def handle_comment(self, data):
        raise AssertionError('comment ' + data)

    def handle_data(self, data):
        where = self.open[-1] if self.open else None
        if where == 'script':
            (self.data if self.is_data else self.code)[-1] += data
        elif where == 'style':
            self.style.append(data)
        else:
            assert where in ('title', 'noscript') or not data.strip(), 'text in %s: %r' % (where, data)


page = Page()
text = open(sys.argv[1], encoding='utf-8').read()
page.feed(text)
page.close()
assert not page.open and text.rstrip().endswith('</html>'), 'the page is not whole'
assert len(page.code) == 1, '%d scripts' % len(page.code)
assert "default-src 'none'" in page.policy and 'unsafe' not in page.policy
for kind, content in (('script', page.code[0]), ('style', ''.join(page.style))):
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    assert "%s-src 'sha256-%s'" % (kind, digest) in page.policy, kind + ' does not have the hash of the policy'
for name in ('innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'eval(', 'Function(', 'srcdoc', 'fetch('):
    assert name not in page.code[0].replace('no\n// innerHTML', ''), name
for data in page.data:
    data = json.loads(data)
    if data['type'] == 'file':
        print(json.dumps(data))
