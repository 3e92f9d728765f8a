/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "bench.h"

static const char *math_name(colt5_math math)
{
    return math == COLT5_MATH_FAST ? "fast" : "strict";
}

static int print_json(const struct bench *bench)
{
    json_t *list = json_array();
    for (size_t i = 0; i < bench->row_count; i++) {
        const struct bench_row *row = &bench->rows[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:f, s:f, s:f, s:I, s:I, s:I, s:I}",
                            "name", row->name, "dtype", colt5_type_name(row->type), "math",
                            math_name(row->math), "batch", (json_int_t)row->batch, "seq",
                            (json_int_t)row->seq, "backward", 0, "median_ms", row->median_ms,
                            "min_ms", row->min_ms, "max_ms", row->max_ms, "peak_bytes",
                            (json_int_t)row->peak_bytes, "launches", (json_int_t)row->launches,
                            "flop", (json_int_t)row->flop, "bytes", (json_int_t)row->bytes));
    }
    const int failed =
        json_array_size(list) != bench->row_count || json_dumpf(list, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(list);
    return failed ? complain_memory() : EXIT_FINE;
}

/* A field of CSV: in quotes, inner quotes doubled. */
static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void print_csv(const struct bench *bench)
{
    printf("name,dtype,math,batch,seq,backward,median_ms,min_ms,max_ms,peak_bytes,launches,flop,"
           "bytes\n");
    for (size_t i = 0; i < bench->row_count; i++) {
        const struct bench_row *row = &bench->rows[i];
        print_quoted(row->name);
        printf(",%s,%s,%zu,%zu,0,%.6g,%.6g,%.6g,%llu,%llu,%llu,%llu\n", colt5_type_name(row->type),
               math_name(row->math), row->batch, row->seq, row->median_ms, row->min_ms, row->max_ms,
               (unsigned long long)row->peak_bytes, (unsigned long long)row->launches,
               (unsigned long long)row->flop, (unsigned long long)row->bytes);
    }
}

/* "12.3 (45 %)": a rate and its share of the ceiling. */
static const char *rate(double amount, double ms, double unit, double ceiling)
{
    static char texts[2][48];
    static int turn;
    char *text = texts[turn++ % 2];
    const double per_second = amount / (ms * 1e-3);
    if (amount == 0)
        snprintf(text, sizeof(texts[0]), "-");
    else if (ceiling > 0)
        snprintf(text, sizeof(texts[0]), "%.3g (%.0f %%)", per_second / unit,
                 100 * per_second / ceiling);
    else
        snprintf(text, sizeof(texts[0]), "%.3g", per_second / unit);
    return text;
}

static void print_table(const struct bench *bench)
{
    const colt5_device_info *device = colt5_context_device_info(bench->session.ctx);
    printf(
        "%s (%s). In brackets: the share of what the device reached moving whole rows (%.3g GB/s) "
        "and in a large product (%.3g GFLOP/s), both measured in this run.\n\n",
        device->name, device->platform_name, bench->ceilings.bytes_per_second * 1e-9,
        bench->ceilings.flop_per_second * 1e-9);
    printf("| name | dtype | math | batch | seq | median ms | min - max ms | peak | launches | "
           "GFLOP/s | GB/s |%s\n|---|---|---|---|---|---|---|---|---|---|---|%s\n",
           bench->text ? " tokens/s |" : "", bench->text ? "---|" : "");
    for (size_t i = 0; i < bench->row_count; i++) {
        const struct bench_row *row = &bench->rows[i];
        printf("| %s | %s | %s | %zu | %zu | %.4g | %.4g - %.4g | %s | %llu | %s | %s |", row->name,
               colt5_type_name(row->type), math_name(row->math), row->batch, row->seq,
               row->median_ms, row->min_ms, row->max_ms, human_bytes((double)row->peak_bytes),
               (unsigned long long)row->launches,
               rate((double)row->flop, row->median_ms, 1e9, bench->ceilings.flop_per_second),
               rate((double)row->bytes, row->median_ms, 1e9, bench->ceilings.bytes_per_second));
        if (bench->text)
            printf(" %.0f |", (double)(row->batch * row->seq) / (row->median_ms * 1e-3));
        putchar('\n');
    }
}

int bench_report(const struct bench *bench)
{
    if (!strcmp(bench->format, "json")) return print_json(bench);
    if (!strcmp(bench->format, "csv"))
        print_csv(bench);
    else
        print_table(bench);
    return EXIT_FINE;
}
