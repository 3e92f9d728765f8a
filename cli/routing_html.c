/* SPDX-License-Identifier: MIT */
/*
 * The page: the text itself, its heavy tokens marked. No script: every run of the text names the
 * branches that took it (q0: the query router of layer 0), and two groups of radio buttons say
 * through the style sheet which of them shows. Keys, screen readers and printers work by
 * themselves.
 */
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "routing.h"

static const char role_letters[ROLES] = {'q', 'k', 'f'};

static const struct escapes chip = {"<span class=x>", "</span>"};

static const char head[] = "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n"
                           "<meta name=viewport content=\"width=device-width\">\n"
                           "<meta http-equiv=Content-Security-Policy "
                           "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n";

static const char style[] =
    ":root{color-scheme:light dark;--page:#fff;--ink:#1f2328;--dim:#59636e;--edge:#d1d9e0;"
    "--heavy:#ffd33d;--on:#1f2328;--focus:#0969da}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#0d1117;--ink:#f0f6fc;--dim:#9198a1;"
    "--edge:#3d444d;--heavy:#e3b341;--on:#0d1117;--focus:#4493f8}}\n"
    "body{background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif;"
    "max-width:72rem;margin:0 auto;padding:1rem}\n"
    "h1{font-size:1.3rem;margin:0 0 .3rem}p{margin:.3rem 0}\n"
    "body>input{position:fixed;top:0;left:0;opacity:0;pointer-events:none}\n"
    "nav{position:sticky;top:0;background:var(--page);border-bottom:1px solid var(--edge);"
    "padding:.5rem 0;margin-bottom:1rem}\n"
    "nav div{display:flex;flex-wrap:wrap;gap:.3rem;align-items:center;margin:.2rem 0}\n"
    "nav b{width:5rem;font-weight:600}\n"
    "label{border:1px solid var(--edge);border-radius:.4rem;padding:.05rem .6rem;cursor:pointer}\n"
    "pre{font:14px/1.7 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;"
    "color:var(--dim);margin:0;tab-size:4}\n"
    ".x{border:1px dotted var(--dim);border-radius:.2rem;font-size:.8em}\n"
    ".s{display:none}\n"
    ".h{background:var(--heavy);color:var(--on);text-decoration:underline;border-radius:.15rem}\n";

/* What shows when layer and role are chosen: its tokens, its buttons, its numbers. */
static void add_rules(struct page *page, const struct routing *routing, size_t layer, int role)
{
    const char letter = role_letters[role];
    page_print(page,
               "#l%zu:checked~#%c:checked~main .%c%zu{background:var(--heavy);"
               "color:var(--on);text-decoration:underline;border-radius:.15rem}\n",
               layer, letter, letter, layer);
    page_print(page, "#l%zu:checked~#%c:checked~main .%c%zu.n::before{content:\"\\21b5\"}\n", layer,
               letter, letter, layer);
    page_print(page, "#l%zu:checked~#%c:checked~nav .s%c%zu{display:inline}\n", layer, letter,
               letter, layer);
    if (!branch_of(routing, layer, (enum router_role)role)->routed)
        page_print(page,
                   "#l%zu:checked~#%c:checked~main pre{background:var(--heavy);"
                   "color:var(--on)}\n",
                   layer, letter);
}

static void add_button_rules(struct page *page, const char *id)
{
    page_print(page,
               "#%s:checked~nav label[for=%s]{background:var(--ink);color:var(--page)}\n"
               "#%s:focus-visible~nav label[for=%s]{outline:3px solid var(--focus);"
               "outline-offset:2px}\n",
               id, id, id, id);
}

static void add_style(struct page *page, const struct routing *routing)
{
    char id[32];
    page_print(page, "<style>\n%s", style);
    for (int role = 0; role < ROLES; role++) {
        snprintf(id, sizeof(id), "%c", role_letters[role]);
        add_button_rules(page, id);
    }
    for (size_t layer = 0; layer < routing->layers; layer++) {
        snprintf(id, sizeof(id), "l%zu", layer);
        add_button_rules(page, id);
        for (int role = 0; role < ROLES; role++) add_rules(page, routing, layer, role);
    }
    page_print(page, "</style>\n");
}

static void add_inputs(struct page *page, const struct routing *routing)
{
    for (size_t layer = 0; layer < routing->layers; layer++)
        page_print(page, "<input type=radio name=layer id=l%zu aria-label=\"layer %zu\"%s>\n",
                   layer, layer, layer ? "" : " checked");
    for (int role = 0; role < ROLES; role++)
        page_print(page, "<input type=radio name=router id=%c aria-label=\"%s router\"%s>\n",
                   role_letters[role], role_names[role],
                   role == ROLE_FEED_FORWARD ? " checked" : "");
}

static void add_byte(struct page *page, const struct picked *picked)
{
    page_print(page, " <b>");
    page_add_text(page, (const unsigned char *)byte_name(picked->byte),
                  strlen(byte_name(picked->byte)), chip);
    page_print(page, "</b>&nbsp;%.0f%%", picked->share);
}

/* ": most of e 93% , 88% …, least of …". */
static void add_picked(struct page *page, const struct routing *routing,
                       const struct branch *branch)
{
    struct picked list[256];
    const size_t count = list_picked(routing, branch, list);
    const size_t shown = count / 2 < PICKED_SHOWN ? count / 2 : PICKED_SHOWN;
    if (!branch->routed || shown == 0) return;
    page_print(page, ": most of");
    for (size_t i = 0; i < shown; i++) add_byte(page, &list[i]);
    page_print(page, ", least of");
    for (size_t i = count - shown; i < count; i++) add_byte(page, &list[i]);
}

/* "1024 of 16384 tokens", for the branch that is chosen. */
static void add_numbers(struct page *page, const struct routing *routing)
{
    for (size_t layer = 0; layer < routing->layers; layer++)
        for (int role = 0; role < ROLES; role++) {
            const struct branch *branch = branch_of(routing, layer, (enum router_role)role);
            page_print(page, "<span class=\"s s%c%zu\">", role_letters[role], layer);
            if (branch->routed)
                page_print(page, "%zu of %zu tokens", branch->distinct, routing->tokens);
            else
                page_print(page, "all %zu tokens: nothing is routed", routing->tokens);
            if (branch->routes > 1) page_print(page, " on %zu routes", branch->routes);
            add_picked(page, routing, branch);
            page_print(page, "</span>");
        }
}

static void add_navigation(struct page *page, const struct routing *routing)
{
    page_print(page, "<nav>\n<div><b>layer</b>");
    for (size_t layer = 0; layer < routing->layers; layer++)
        page_print(page, "<label for=l%zu>%zu</label>", layer, layer);
    page_print(page, "</div>\n<div><b>router</b>");
    for (int role = 0; role < ROLES; role++)
        page_print(page, "<label for=%c>%s</label>", role_letters[role], role_names[role]);
    page_print(page, "</div>\n<div role=status><b>legend</b><span class=h>heavy</span>");
    add_numbers(page, routing);
    page_print(page,
               "<span>&middot;</span><span class=x>\\xNN</span> a byte that is no text</div>\n"
               "</nav>\n");
}

/* Whether some branch took token n. */
static bool is_taken(const struct routing *routing, size_t branch, size_t first, size_t length)
{
    const struct branch *b = &routing->branches[branch];
    if (!b->routed) return false;
    for (size_t i = first; i < first + length; i++)
        if (b->heavy[i]) return true;
    return false;
}

/* Whether the same branches took two characters. */
static bool alike(const struct routing *routing, size_t a, size_t a_length, size_t b,
                  size_t b_length)
{
    for (size_t i = 0; i < routing->layers * ROLES; i++)
        if (is_taken(routing, i, a, a_length) != is_taken(routing, i, b, b_length)) return false;
    return true;
}

/* A run of characters that the same branches took. */
static void add_run(struct page *page, const struct routing *routing, size_t first, size_t length,
                    size_t first_character)
{
    bool any = false;
    for (size_t i = 0; i < routing->layers * ROLES; i++) {
        if (!is_taken(routing, i, first, first_character)) continue;
        page_print(page, "%s%c%zu", any ? " " : "<span class=\"", role_letters[i % ROLES],
                   i / ROLES);
        any = true;
    }
    if (any) page_print(page, "%s\">", routing->text[first] == '\n' ? " n" : "");
    page_add_text(page, routing->text + first, length, chip);
    if (any) page_print(page, "</span>");
}

static void add_body(struct page *page, const struct routing *routing)
{
    const size_t N = routing->tokens;
    page_print(page, "<main>\n<pre>\n"); /* the newline after <pre> is not shown */
    for (size_t first = 0, next; first < N; first = next) {
        bool plain;
        const size_t one = character_length(routing->text + first, N - first, &plain);
        next = first + one;
        while (next < N && routing->text[first] != '\n' && routing->text[next] != '\n') {
            const size_t length = character_length(routing->text + next, N - next, &plain);
            if (!alike(routing, first, one, next, length)) break;
            next += length;
        }
        add_run(page, routing, first, next - first, one);
    }
    page_print(page, "</pre>\n</main>\n");
}

int write_routing_html(const struct routing *routing, const char *path)
{
    struct page page = {.text = NULL};
    const unsigned char *title = (const unsigned char *)routing->title;
    const size_t length = strlen(routing->title);
    page_print(&page, "%s<title>Routes: ", head);
    page_add_text(&page, title, length, (struct escapes){"", ""});
    page_print(&page, "</title>\n");
    add_style(&page, routing);
    page_print(&page, "<h1>Which tokens went to the heavy branches: ");
    page_add_text(&page, title, length, chip);
    page_print(&page, "</h1>\n<p>Every token goes through the light branches; the routers of each "
                      "layer pick those that a heavy branch sees too. A token is a byte.</p>\n");
    add_inputs(&page, routing);
    add_navigation(&page, routing);
    add_body(&page, routing);
    int code = page.failed ? complain_memory() : EXIT_FINE;
    if (code == EXIT_FINE && colt5_write_file(path, page.text, page.used) != COLT5_OK)
        code = complain_status(NULL, COLT5_ERROR_FILE);
    free(page.text);
    return code;
}
