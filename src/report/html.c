/* SPDX-License-Identifier: MIT */
/*
 * The page is report.html, in which the build has put the hashes of its one script and its one style sheet:
 * the browser runs and applies nothing else.  <script type="application/json"> elements hold the lines of the
 * JSON report, with the strings of tests and guests, escaped so that no string can end its element; the
 * script shows strings as text, never as markup.
 */
#include <string.h>

#include "report/writers.h"

#include "report.html.h"

/* The mark at which the page is cut in two; the data goes between the halves. */
static const char mark[] = "<!--DATA-->";

static const char *page_cut(void)
{
    return memmem(pv_report_html, sizeof(pv_report_html), mark, sizeof(mark) - 1);
}

/* One line of JSON as an element. In JSON these characters stand in strings alone, where \u003c is the same.
 */
static void html_element(struct pv_buf *out, const char *class, const struct pv_buf *line)
{
    pv_buf_addf(out, "<script type=\"application/json\" class=\"%s\">", class);
    for (size_t i = 0; i < line->len; i++) {
        char c = line->data[i];

        if (c == '<' || c == '>' || c == '&')
            pv_buf_addf(out, "\\u%04x", c);
        else if (c != '\n')
            pv_buf_addc(out, c);
    }
    pv_buf_adds(out, "</script>\n");
}

void pv_html_head(struct pv_buf *out, const struct pv_run_info *info, const struct pv_run_end *end)
{
    cleanup_buf struct pv_buf line = {0}, last = {0};

    pv_buf_add(out, pv_report_html, (size_t)(page_cut() - (const char *)pv_report_html));
    pv_json_run(&line, info);
    html_element(out, "run", &line);
    pv_json_end(&last, end);
    html_element(out, "end", &last);
}

void pv_html_file(struct pv_buf *out, const struct pv_file_report *f, bool brief)
{
    cleanup_buf struct pv_buf line = {0};

    pv_json_file(&line, f, brief);
    html_element(out, "file", &line);
}

void pv_html_foot(struct pv_buf *out)
{
    const char *rest = page_cut() + sizeof(mark) - 1;

    pv_buf_add(out, rest, sizeof(pv_report_html) - (size_t)(rest - (const char *)pv_report_html));
}
