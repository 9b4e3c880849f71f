# SPDX-License-Identifier: MIT
"""Reads docs/lua-api.md: its entries, and the types in the comments behind their headings.

    <!-- (path: string, opts?: opts): string      the arguments and results, as LuaCATS writes them
    timeout: provium.Time; of the call            an option: its type and what it means
    -->

"opts" is the table of the options below; "opts(vm:list)" has those of another entry.  "VM only" in front of the
arguments: workers lack the method.  "value TYPE": the entry is no function.  An option without a meaning has it in a row
of a table of the entry's text.
"""
import re


class Entry:
    """A heading: name as on the page, args (list of names with '?'), sig, vm_only, value, options, text, code."""

    def __init__(self, name, args, line):
        self.name, self.line = name, line
        self.args = [a.strip() for a in args.split(',') if a.strip()] if args is not None else None
        self.sig, self.vm_only, self.value = None, False, None
        self.options, self.text, self.code = [], [], []


class Class:
    """A table that calls take (result: return): name, parent, fields, alias (a type) and its meaning."""

    def __init__(self, name, parent=None, result=False, alias=None, meaning=''):
        self.name, self.parent, self.result, self.alias, self.meaning = name, parent, result, alias, meaning
        self.fields = []


def option(line):
    m = re.match(r'(\w+): ([^;]+?)(?:; (.*))?$', line)
    if not m:
        raise ValueError('no option "name: type; meaning": ' + line)
    return [m.group(1), m.group(2), m.group(3) or '']


def comment_to_entry(entry, lines):
    sig = lines[0]
    if sig.startswith('VM only '):
        entry.vm_only, sig = True, sig[len('VM only '):]
    if sig.startswith('value '):
        entry.value = sig[len('value '):]
    else:
        entry.sig = sig
    entry.options = [option(line) for line in lines[1:]]


def comment_to_class(lines):
    m = re.match(r'alias (\S+) ([^;]+); (.*)$', lines[0])
    if m:
        return Class(m.group(1), alias=m.group(2), meaning=m.group(3))
    m = re.match(r'(result )?class (\S+)(?: : (\S+))?$', lines[0])
    if not m:
        return None
    c = Class(m.group(2), m.group(3), bool(m.group(1)))
    c.fields = [option(line) for line in lines[1:]]
    return c


def row_meanings(entry):
    """Fills in the meanings that rows of the entry's tables have."""
    rows = {}
    for line in entry.text:
        cells = [c.strip().replace('\\|', '|') for c in re.split(r'(?<!\\)\|', line)[1:-1]]
        if len(cells) >= 2 and cells[0].startswith('`'):
            for name in re.findall(r'`(\w+)`', cells[0]):
                default = cells[1] if len(cells) > 2 else ''
                rows[name] = cells[-1] + (' (default: %s)' % default if default and default != 'none' else '')
    for o in entry.options:
        o[2] = o[2] or rows.get(o[0], '')


class Page:
    """entries in order, classes by name."""

    def __init__(self, path):
        self.entries, self.classes, self.intro = [], {}, []
        self.sections = []  # (heading, text lines, entries)
        entry = section = comment = code = None
        for number, line in enumerate(open(path), 1):
            line = line.rstrip('\n')
            heading = re.match(r'### `([^`(]*)(?:\(([^`]*)\))?`', line)
            if comment is not None:
                comment.append(line)
            elif line.startswith('<!--'):
                comment = [line]
            elif code is not None:
                (code.append if line != '```' else lambda _: None)(line)
                code = None if line == '```' else code
            elif line == '```lua' and entry:
                code = entry.code
                if code:
                    code.append('')
            elif heading:
                entry = Entry(heading.group(1), heading.group(2), number)
                self.entries.append(entry)
                section[2].append(entry)
            elif line.startswith('## '):
                section, entry = (line[3:], [], []), None
                self.sections.append(section)
            elif entry:
                entry.text.append(line)
            else:
                (section[1] if section else self.intro).append(line)
            if comment is not None and comment[-1].endswith('-->'):
                self._comment(entry, '\n'.join(comment)[4:-3].strip().split('\n'))
                comment = None
        for e in self.entries:
            row_meanings(e)

    def _comment(self, entry, lines):
        c = comment_to_class(lines)
        if c:
            self.classes[c.name] = c
        elif entry and entry.sig is None and entry.value is None and re.match(r'(VM only )?[(v]', lines[0]):
            comment_to_entry(entry, lines)

    def owner(self, name):
        """The entry whose options "opts(NAME)" means."""
        return next(e for e in self.entries if e.name == name)


# The names on the page have these types.  VMs and workers share what is not "VM only".
OBJECTS = {'vm': 'provium.Agent', 'worker': 'provium.Worker', 'lan': 'provium.Network', 'port': 'provium.Port',
           'capture': 'provium.Capture', 'router': 'provium.Router', 'disk': 'provium.Disk', 'rule': 'provium.Rule',
           'rec': 'provium.Recording', 'state': 'provium.State', 'result': 'provium.AnyResult',
           'process': 'provium.Process', 'stream': 'provium.Stream', 'console': 'provium.Console',
           'nic': 'provium.Nic', 'uplink': 'provium.Uplink', 'task': 'provium.Task', 's': 'string'}
PARENTS = {'provium.VM': 'provium.Agent', 'provium.Worker': 'provium.Agent', 'provium.Console': 'provium.Stream'}
LIB = 'provium.lib'


def object_of(entry):
    """The class of the entry's object, None for a global function; and the name in it."""
    m = re.match(r'(\w+)[:.](.+)$', entry.name)
    if not m:
        return None, entry.name
    if m.group(1) == 'provium':
        return LIB, m.group(2)
    if m.group(1) == 'vm' and (entry.vm_only or m.group(2) == 'kill'):
        return 'provium.VM', m.group(2)
    return OBJECTS[m.group(1)], m.group(2)


def variable(cls):
    """The local of the stubs to which the functions of a class belong."""
    return cls.replace('provium.', '_').replace('_lib', 'provium') if cls != 'string' else 'string'
