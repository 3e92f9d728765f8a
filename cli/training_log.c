/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "page.h"
#include "training.h"

static bool keep_point(struct curves *curves, const double *values)
{
    if (curves->count == curves->capacity) {
        const size_t capacity = 2 * curves->capacity + 1024;
        double(*points)[LOG_FIXED] = realloc(curves->points, capacity * sizeof(*points));
        if (!points) return false;
        curves->points = points;
        curves->capacity = capacity;
    }
    memcpy(curves->points[curves->count++], values, sizeof(*curves->points));
    return true;
}

/* ---- reading what is there ---- */

static char *whole_file(const char *path, size_t *count)
{
    size_t capacity = 0;
    char *text = NULL;
    FILE *file = fopen(path, "rb");
    *count = 0;
    while (file && !feof(file) && !ferror(file)) {
        if (capacity - *count < 4096) {
            capacity = 2 * capacity + 65536;
            char *more = realloc(text, capacity);
            if (!more) break;
            text = more;
        }
        *count += fread(text + *count, 1, capacity - *count - 1, file);
    }
    const bool whole = file && feof(file);
    const int error = errno;
    if (file) fclose(file);
    errno = error;
    if (whole) {
        text[*count] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* The first cells of a line as numbers, an empty one as NaN; false where it is no row. */
static bool read_row(const char *line, const char *end, size_t columns, double *fixed)
{
    size_t column = 0;
    for (const char *cell = line; cell <= end; column++) {
        char *stop = (char *)cell;
        const double value = *cell == ',' || cell == end ? NAN : strtod(cell, &stop);
        if (stop > end || (stop != end && *stop != ',')) return false;
        if (column < LOG_FIXED) fixed[column] = value;
        cell = stop + 1;
    }
    return column == columns && fixed[LOG_STEP] >= 0;
}

/* The rows to keep: *end is set to where they end. */
static bool read_rows(struct training_log *log, const char *text, double last_step, size_t *end)
{
    double fixed[LOG_FIXED];
    for (const char *line = text + *end, *stop; (stop = strchr(line, '\n')); line = stop + 1) {
        if (!read_row(line, stop, log->columns, fixed) || fixed[LOG_STEP] > last_step) break;
        if (!keep_point(&log->curves, fixed)) return false;
        *end = (size_t)(stop + 1 - text);
    }
    return true;
}

/* ---- opening ---- */

/* The file whole: the header, or what is kept of the old one. */
static int begin_file(struct training_log *log, const char *header, double last_step)
{
    size_t count, end = strlen(header);
    char *text = whole_file(log->path, &count);
    int code = EXIT_FINE;
    if (!text && errno != ENOENT) {
        complain("%s: cannot be read: %s", log->path, strerror(errno));
        return EXIT_BAD_INPUT;
    }
    if (text && strncmp(text, header, end) != 0) {
        complain("%s: has other columns", log->path);
        code = EXIT_BAD_INPUT;
    } else if (text && !read_rows(log, text, last_step, &end)) {
        code = complain_memory();
    } else if (!text || end < count) {
        const colt5_status status = colt5_write_file(log->path, text ? text : header, end);
        if (status != COLT5_OK) code = complain_status(NULL, status);
    }
    free(text);
    return code;
}

int open_log(struct training_log *log, const char *path, const char *const *names, size_t columns,
             double last_step)
{
    struct page header = {0};
    *log = (struct training_log){.fd = -1, .path = strdup(path), .columns = columns};
    for (size_t i = 0; i < columns; i++) page_print(&header, "%s%s", i ? "," : "", names[i]);
    page_add(&header, "\n", 1);
    int code = log->path && !header.failed ? EXIT_FINE : complain_memory();
    if (code == EXIT_FINE) code = begin_file(log, header.text, last_step);
    free(header.text);
    if (code == EXIT_FINE) {
        log->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (log->fd < 0) {
            complain("%s: cannot be written: %s", path, strerror(errno));
            code = EXIT_BAD_INPUT;
        }
    }
    if (code != EXIT_FINE) close_log(log);
    return code;
}

/* ---- rows ---- */

/* In one piece, so that a row is there whole or not at all as long as the disk has room. */
static int write_text(const struct training_log *log, const char *text, size_t count)
{
    while (count > 0) {
        const ssize_t put = write(log->fd, text, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            complain("%s: cannot be written: %s", log->path, strerror(errno));
            return EXIT_BAD_INPUT;
        }
        text += put;
        count -= (size_t)put;
    }
    return EXIT_FINE;
}

int add_row(struct training_log *log, const double *values)
{
    struct page row = {0};
    for (size_t i = 0; i < log->columns; i++) {
        if (i > 0) page_add(&row, ",", 1);
        if (i == LOG_STEP)
            page_print(&row, "%.0f", values[i]);
        else if (!isnan(values[i]))
            page_print(&row, "%.7g", values[i]);
    }
    page_add(&row, "\n", 1);
    int code = row.failed || !keep_point(&log->curves, values) ? complain_memory() : EXIT_FINE;
    if (code == EXIT_FINE) code = write_text(log, row.text, row.used);
    free(row.text);
    return code;
}

void close_log(struct training_log *log)
{
    if (log->path && log->fd >= 0) close(log->fd);
    free(log->path);
    free(log->curves.points);
    *log = (struct training_log){.fd = -1};
}
