#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Man pages from what is there already.

    man.py commands VERSION PROVIUM OUTPUT      provium(1), of the help that the program prints
    man.py page VERSION PAGE.md NAME SECTION OUTPUT     a page of docs
"""
import os
import re
import subprocess
import sys
import textwrap
import time


def escape(text):
    """Text of a line: no requests, no escapes, hyphens that can be copied."""
    text = text.replace('\\', '\\e').replace('-', '\\-')
    return '\\&' + text if text[:1] in ".'" else text


def inline(text):
    """Markdown's links, bold type and code within a paragraph."""
    text = re.sub(r'!?\[([^]]*)\]\([^)]*\)', r'\1', text)
    out = ''
    for i, part in enumerate(re.split(r'`([^`]*)`', text)):
        part = part if i % 2 else part.replace('**', '')
        out += '\\fB%s\\fP' % escape(part) if i % 2 and part else escape(part)
    return out


def header(name, section, version, what):
    date = time.strftime('%Y-%m-%d', time.gmtime(int(os.environ.get('SOURCE_DATE_EPOCH', time.time()))))
    return ['.TH %s %s %s "Provium %s"' % (name.upper(), section, date, version), '.SH NAME',
            '%s \\- %s' % (escape(name), escape(what))]


def write(output, lines):
    """Fills the text, and drops paragraph macros that have no effect, which lint reports."""
    out, literal = [], False
    for line, after in zip(lines, lines[1:] + ['']):
        literal = (literal or line == '.nf') and line != '.fi'
        idle = line == '.PP' and (re.match(r'\.(PP|SH|SS|TP|IP)', after or '.PP') or
                                  re.match(r'\.(SH|SS)', out[-1] if out else ''))
        if literal or line.startswith('.'):
            out += [] if idle else [line]
        else:
            for part in textwrap.wrap(line, 78, break_long_words=False, break_on_hyphens=False):
                out.append('\\&' + part if part[0] in ".'" else part)
    open(output, 'w').write('\n'.join(out) + '\n')


def code(lines):
    return ['.PP', '.RS 4', '.nf'] + [escape(line) for line in lines] + ['.fi', '.RE']


def paragraphs(lines):
    """Plain text: paragraphs, and code that is indented by four."""
    out, i = [], 0
    while i < len(lines):
        j = i
        if not lines[i]:
            j += 1
        elif lines[i].startswith('  '):
            while j < len(lines) and lines[j].startswith('  '):
                j += 1
            out += code([re.sub('^ {2,4}', '', line) for line in lines[i:j]])
        else:
            while j < len(lines) and lines[j] and not lines[j].startswith('  '):
                j += 1
            out += ['.PP'] + [escape(line) for line in lines[i:j]]
        i = j
    return out


# ---- provium(1) ----

def command(text):
    lines = text.rstrip('\n').split('\n')
    first = next(i for i, line in enumerate(lines) if re.match(r'[A-Z][^.]*:$|options:$', line) and
                 i + 1 < len(lines) and re.match(r'  (-\w, |    )--', lines[i + 1]))
    out = ['.SS %s' % escape(lines[0][len('usage: '):])] + paragraphs(lines[2:first])
    for line in lines[first:]:
        if re.match(r'  (-\w, |    )--', line):
            alone = line[26:27] not in ('', ' ')  # a long left side has a line of its own
            left, text = (line, '') if alone else (line[:27], line[27:])
            out += ['.TP', '.B %s' % escape(left.strip())] + ([escape(text.strip())] if text.strip() else [])
        elif line.startswith(' ' * 20):
            out.append(escape(line.strip()))
        elif line and line != 'options:':
            out += ['.PP', escape(line)]
    return out


def commands(version, provium, output):
    def help(*args):
        return subprocess.run([provium, *args], check=True, capture_output=True, text=True).stdout
    names = re.findall(r'^  ([a-z]+) +\S', help('help'), re.M)
    out = header('provium', '1', version, 'tests in virtual machines') + ['.SH SYNOPSIS', '.B provium',
                                                                         '.I COMMAND', '[options] [arguments]']
    out += ['.SH DESCRIPTION', 'Provium boots virtual machines in QEMU and drives them from tests in Lua, or by hand.',
            'It needs no root and no KVM.', 'provium.toml(5) describes what it boots, provium\\-lua(7) what tests call.',
            '.SH COMMANDS']
    for name in names:
        out += command(help(name, '--help'))
    out += ['.SH ENVIRONMENT']
    for name, text in (('PROVIUM_GUEST_DIR', 'the directory of the default guest'),
                       ('PROVIUM_QEMU', 'the QEMU program'),
                       ('PROVIUM_DEBUG', '1: every step, change of state and message on standard error'),
                       ('XDG_CACHE_HOME', 'where the cache is (default: ~/.cache)'),
                       ('TMPDIR', 'where files of running VMs are'),
                       ('NO_COLOR', 'no colours'), ('PAGER', 'shows pages of help')):
        out += ['.TP', '.B %s' % name, escape(text)]
    out += ['.SH EXIT STATUS', '0: all went well; 1: a test failed, or a guest died; 2: an error of usage, of',
            'configuration or of the host.', '.SH SEE ALSO', '.BR provium.toml (5),', '.BR provium\\-lua (7)']
    write(output, out)


# ---- pages ----

def table(rows):
    out = []
    for row in rows[2:]:
        cells = [c.strip().replace('\\|', '|') for c in re.split(r'(?<!\\)\|', row)[1:-1]]
        out += ['.TP', inline(cells[0]) or '\\&'] + [inline(c) for c in ['; '.join(c for c in cells[1:] if c)]]
    return out + ['.PP']


def page(version, path, name, section, output):
    lines = re.sub(r'<!--.*?-->\n?', '', open(path).read(), flags=re.S).rstrip('\n').split('\n')
    out = header(name, section, version, lines[0].lstrip('# '))
    out.append('.SH DESCRIPTION')
    i = 1
    while i < len(lines):
        line, j = lines[i], i + 1
        if line.startswith('```'):
            while not lines[j].startswith('```'):
                j += 1
            out += code(lines[i + 1:j])
            j += 1
        elif line.startswith('|'):
            while j < len(lines) and lines[j].startswith('|'):
                j += 1
            out += table(lines[i:j])
        elif line.startswith('### '):
            out.append('.SS %s' % inline(line[4:]))
        elif line.startswith('## '):
            out.append('.SH %s' % inline(line[3:]).upper().replace('\\FB', '\\fB').replace('\\FP', '\\fP'))
        elif line.startswith('    '):
            while j < len(lines) and lines[j].startswith('    '):
                j += 1
            out += code([t[4:] for t in lines[i:j]])
        elif line.startswith('- '):
            out += ['.IP \\(bu 2']
            while j < len(lines) and lines[j].startswith('  '):
                line += ' ' + lines[j].strip()
                j += 1
            out.append(inline(line[2:]))
        elif line.strip():
            while j < len(lines) and lines[j].strip() and not re.match(r'[|#]|```|- ', lines[j]):
                line += ' ' + lines[j].strip()
                j += 1
            out += ['.PP', inline(line)]
        i = j
    write(output, out)


if sys.argv[1] == 'commands':
    commands(*sys.argv[2:])
else:
    page(*sys.argv[2:])
