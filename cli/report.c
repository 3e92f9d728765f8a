/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <jansson.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static struct report_style style;
static bool bar_shown;

void set_report_style(struct report_style wanted)
{
    style = wanted;
}

struct report_style report_style(void)
{
    return style;
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void complain(const char *format, ...)
{
    end_progress();
    va_list arguments;
    va_start(arguments, format);
    fputs("colt5: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

void note(const char *format, ...)
{
    if (style.quiet) return;
    end_progress();
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

static const struct {
    colt5_status status;
    int code;
    const char *advice; /* NULL: the message says it */
} outcomes[] = {
    {COLT5_OK, EXIT_FINE, NULL},
    {COLT5_ERROR_ARGUMENT, EXIT_BAD_INPUT, NULL},
    {COLT5_ERROR_SHAPE, EXIT_BAD_INPUT, "`colt5 info MODEL` shows the model's sizes"},
    {COLT5_ERROR_TYPE, EXIT_BAD_INPUT, NULL},
    {COLT5_ERROR_MEMORY, EXIT_NO_MEMORY, "try a shorter input, a smaller batch, or --dtype bf16"},
    {COLT5_ERROR_DEVICE, EXIT_NO_DEVICE,
     "`colt5 devices` lists them, `colt5 doctor` finds out why"},
    {COLT5_ERROR_BUILD, EXIT_DEVICE_FAILED, "`colt5 doctor` collects what a bug report needs"},
    {COLT5_ERROR_OPENCL, EXIT_DEVICE_FAILED, "`colt5 doctor` collects what a bug report needs"},
    {COLT5_ERROR_LOST, EXIT_DEVICE_FAILED, "start again; `colt5 doctor` tests the device"},
    {COLT5_ERROR_FILE, EXIT_BAD_INPUT, NULL},
    {COLT5_ERROR_FORMAT, EXIT_BAD_INPUT, NULL},
    {COLT5_ERROR_CONFIG, EXIT_BAD_INPUT, NULL},
};

int complain_failure(const colt5_context *ctx, colt5_status status)
{
    const char *text = colt5_message(ctx);
    complain("%s", *text ? text : colt5_status_text(status));
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
        if (outcomes[i].status == status) {
            if (outcomes[i].advice) fprintf(stderr, "%s\n", outcomes[i].advice);
            return outcomes[i].code;
        }
    return EXIT_INTERNAL;
}

int complain_memory(void)
{
    complain("no host memory");
    return EXIT_NO_MEMORY;
}

static void draw_bar(const char *what, size_t done, size_t total)
{
    char bar[25];
    const size_t filled = total ? 24 * done / total : 0;
    for (size_t i = 0; i < 24; i++) bar[i] = i < filled ? '#' : '.';
    bar[24] = '\0';
    if (total)
        fprintf(stderr, "\r\033[K[%s] %zu/%zu %s", bar, done, total, what);
    else
        fprintf(stderr, "\r\033[K%s …", what);
    fflush(stderr);
    bar_shown = true;
}

static void print_json(const char *what, size_t done, size_t total)
{
    json_t *line = json_pack("{s:s, s:I, s:I}", "progress", what, "done", (json_int_t)done, "total",
                             (json_int_t)total);
    json_dumpf(line, stderr, JSON_COMPACT);
    fputc('\n', stderr);
    json_decref(line);
}

/* At most one a second, and none for what is over within the first. */
static void print_line(const char *what, size_t done, size_t total)
{
    static double last;
    const double now = seconds_now();
    if (last == 0) last = now;
    if (now - last < 1) return;
    last = now;
    if (total)
        fprintf(stderr, "%s: %zu of %zu\n", what, done, total);
    else
        fprintf(stderr, "%s\n", what);
}

void show_progress(const char *what, size_t done, size_t total)
{
    if (style.quiet) return;
    if (style.json)
        print_json(what, done, total);
    else if (isatty(STDERR_FILENO))
        draw_bar(what, done, total);
    else
        print_line(what, done, total);
}

void show_live(const char *text)
{
    struct winsize window;
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1;
    fprintf(stderr, "\r\033[K%.*s", known ? window.ws_col - 1 : 79, text);
    fflush(stderr);
    bar_shown = true;
}

void end_progress(void)
{
    if (bar_shown) fputs("\r\033[K", stderr);
    bar_shown = false;
}

const char *human_bytes(double bytes)
{
    static char texts[4][32];
    static int turn;
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    char *text = texts[turn++ % 4];
    snprintf(text, sizeof(texts[0]), unit && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes,
             units[unit]);
    return text;
}
