#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""lua-stubs.py lua-api.md STUBS OPTIONS ARITY: the type stubs of `provium lsp`, the options for completion in the REPL,
and how many arguments each function takes, for src/lua/arity.c."""
import re
import sys

from luaapi import LIB, PARENTS, Page, object_of, variable

def opts_class(name):
    return 'provium.opts.' + re.sub(r'[:.]', '_', name)


def resolve(text, entry):
    """Types with "opts" and "opts(NAME)" replaced by their classes."""
    if not entry:
        return text
    text = re.sub(r'\bopts\(([^)]*)\)', lambda m: opts_class(m.group(1)), text)
    return re.sub(r'(?<![\w.])opts(?!\??:)(?![\w.])', opts_class(entry.name), text)


def split(text, stop=','):
    """The parts of a list at its top level."""
    parts, depth, part = [], 0, ''
    for c in text:
        depth += c in '({<['
        depth -= c in ')}>]'
        if c == stop and depth == 0:
            parts.append(part.strip())
            part = ''
        else:
            part += c
    return parts + [part.strip()] if part.strip() else parts


def signature(entry):
    """([(name, type)], [result types]); the names must be those of the heading."""
    depth = 0
    for end, c in enumerate(entry.sig):
        depth += c == '('
        depth -= c == ')'
        if depth == 0:
            break
    args = [tuple(p.split(': ', 1)) for p in split(entry.sig[1:end])]
    results = split(entry.sig[end + 1:].lstrip(': '))
    names = [a[0].rstrip('?') for a in args]
    heading = [a.rstrip('?') for a in entry.args]
    if names != heading and names[:-1] + ['...'] != heading and names != heading[:-1] + names[-1:]:
        raise SystemExit('docs/lua-api.md:%d: %s has the arguments %s in its heading and %s in its types' %
                         (entry.line, entry.name, heading, names))
    return args, results


def plain(line):
    return re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', line)


def description(entry):
    lines = [plain(t) for t in entry.text]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    out = ['---' + t for t, before in zip(lines, [None] + lines) if t or before]
    if entry.code:
        out += ['---', '---```lua'] + ['---' + c for c in entry.code] + ['---```']
    return out


def function(entry, path, sep):
    args, results = signature(entry)
    out = description(entry)
    for name, type in args:
        type = resolve(type, entry)
        optional = '?' if name.endswith('?') else ''
        out.append('---@param %s%s %s' % (name.rstrip('?'), optional, type))
    for r in results:
        m = re.match(r'(.*?)(?:^\.\.\.| \.\.\.$)(.*)$', r)
        out.append('---@return %s%s' % (resolve((m.group(1) or m.group(2)) if m else r, entry), ' ...' if m else ''))
    names = [a[0] for a in args]
    if not sep and any(n.endswith('?') and not m.endswith('?') for n, m in zip(names, names[1:])):
        out.append('---@overload fun(%s)%s' % (', '.join('%s: %s' % a for a in args if not a[0].endswith('?')),
                                               ': ' + results[0] if results else ''))
    out.append('function %s%s(%s) end' % (path, sep + object_of(entry)[1] if sep else entry.name,
                                          ', '.join(a[0].rstrip('?') for a in args)))
    return out + ['']


def fields(list, entry, optional):
    return ['---@field %s%s %s%s' % (n, '?' if optional else '', resolve(t, entry), ' ' + plain(d) if d else '')
            for n, t, d in list]


def stubs(page):
    out = ['---@meta', '-- Types of Provium\'s Lua API, for the Lua language server.  `provium lsp` has written this file;',
           '-- it is docs/lua-api.md in another form, and nothing runs it.', '']
    for c in page.classes.values():
        if c.alias:
            out += ['---%s' % c.meaning, '---@alias %s %s' % (c.name, c.alias), '']
    for e in page.entries:
        if e.options:
            out += ['---@class %s' % opts_class(e.name)] + fields(e.options, e, True) + ['']
    declared = {}
    for c in page.classes.values():
        if not c.alias:
            declared[c.name] = ['---@class %s%s' % (c.name, ' : ' + c.parent if c.parent else '')] + \
                fields(c.fields, None, not c.result)
    for e in page.entries:
        cls = object_of(e)[0]
        for name in (PARENTS.get(cls), cls) if cls else ():
            if name and name not in declared:
                parent = PARENTS.get(name)
                declared[name] = ['---@class %s%s' % (name, ' : ' + parent if parent else '')]
        if e.value is not None:
            declared[cls].append('---@field %s %s %s' % (object_of(e)[1], e.value,
                                                         ' '.join(plain(t) for t in e.text if t)))
        elif cls == 'string': # called with a dot, too
            args, results = signature(e)
            declared[cls].append('---@field %s fun(%s): %s %s' % (
                object_of(e)[1], ', '.join(['self?: string'] + ['%s?: %s' % a for a in args]), results[0],
                ' '.join(t for t in e.text if t)))
    methods = {object_of(e)[0] for e in page.entries if e.value is None} - {None, 'string'}
    for name, lines in declared.items():
        if name == LIB:
            continue
        out += lines + (['local %s = {}' % variable(name)] if name in methods else []) + ['']
    out += declared[LIB] + ['provium = {}']
    for table in ('json', 'net'):
        out.append('provium.%s = {}' % table)
    out.append('')
    for e in page.entries:
        cls = object_of(e)[0]
        if e.value is None and cls != 'string':
            out += function(e, variable(cls) if cls else '', '' if not cls else '.' if cls == LIB else ':')
    return '\n'.join(out)


def lua_list(names):
    return '{' + ', '.join('"%s"' % n for n in names) + '}'


def options(page):
    """A Lua table: by function name, the options of its tables, and those of tables in them."""
    def nested(entry, list):
        out = {}
        for name, type, _ in list:
            for cls in re.findall(r'provium\.\w+', type):
                c = page.classes.get(cls)
                if c and not c.result and not c.alias:
                    out.setdefault(name, []).extend(f[0] for f in c.fields)
        return out
    by_name = {}
    for e in page.entries:
        if e.sig is None:
            continue
        types = ' '.join(type for _, type in signature(e)[0])
        lists = [(page.owner(m) if m else e).options for m in re.findall(r'\bopts(?:\(([^)]*)\))?', types)]
        lists += [page.classes[c].fields for c in re.findall(r'provium\.\w+', types)
                  if c in page.classes and not page.classes[c].alias and not page.classes[c].result]
        key = re.split(r'[:.]', e.name)[-1]
        names, sub = by_name.setdefault(key, ([], {}))
        for list in lists:
            names += [n for n, _, _ in list if n not in names]
            for k, v in nested(e, list).items():
                sub[k] = v
    out = ['-- By a function\'s name: its options, and those of the tables that an option holds.', 'return {']
    for key in sorted(by_name):
        names, sub = by_name[key]
        if names:
            inner = ''.join(', %s = %s' % (k, lua_list(v)) for k, v in sorted(sub.items()))
            out.append('    ["%s"] = {names = %s%s},' % (key, lua_list(names), ', sub = {%s}' % inner[2:] if inner else ''))
    return '\n'.join(out + ['}', ''])


def arity(page):
    """Rows of C: what takes a fixed number of arguments.  Functions of Lua itself follow Lua's rules."""
    out = []
    for heading, _, entries in page.sections:
        for e in entries:
            if e.args is None or any('...' in a for a in e.args) or heading == 'Lua itself':
                continue
            object, sep, name = re.match(r'(?:(.*)([:.]))?(.+)$', e.name).groups()
            if object != 's':
                out.append('{"%s", "%s", "%s(%s)", %d, %s},' % (
                    object or '', name, e.name, ', '.join(e.args), len(e.args) + (sep == ':'), str(sep == ':').lower()))
    return '\n'.join(out + [''])


page = Page(sys.argv[1])
open(sys.argv[2], 'w').write(stubs(page))
open(sys.argv[3], 'w').write(options(page))
open(sys.argv[4], 'w').write(arity(page))
