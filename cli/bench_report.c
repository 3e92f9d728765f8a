/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <string.h>

#include "bench.h"

static double per_second(uint64_t amount, const struct bench_row *row)
{
    return (double)amount / (row->median_ms * 1e-3);
}

/* What of a ceiling the row reached; 0 where there is no such work, or no ceiling was measured. */
static double share(uint64_t amount, const struct bench_row *row, double ceiling)
{
    return ceiling > 0 ? per_second(amount, row) / ceiling : 0;
}

static double copy_share(const struct bench *bench, const struct bench_row *row)
{
    return share(row->bytes, row, bench->ceilings.bytes_per_second);
}

static double product_share(const struct bench *bench, const struct bench_row *row)
{
    return share(row->flop, row, bench->ceilings.flop_per_second);
}

/* How many times as fast as the other; 0: there is none. */
static double ratio(const struct bench_row *row, const struct bench_other *other)
{
    return other->median_ms > 0 ? other->median_ms / row->median_ms : 0;
}

static json_t *json_row(const struct bench *bench, const struct bench_row *row)
{
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:b, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f}", "name",
        row->name, "dtype", colt5_type_name(row->type), "math", math_name(row->math), "batch",
        (json_int_t)row->batch, "seq", (json_int_t)row->seq, "backward", row->backward, "median_ms",
        row->median_ms, "min_ms", row->min_ms, "max_ms", row->max_ms, "peak_bytes",
        (json_int_t)row->peak_bytes, "launches", (json_int_t)row->launches, "flop",
        (json_int_t)row->flop, "bytes", (json_int_t)row->bytes, "tflop_per_second",
        per_second(row->flop, row) * 1e-12, "gb_per_second", per_second(row->bytes, row) * 1e-9);
    if (!bench->no_ceilings) {
        json_object_set_new(object, "copy_share", json_real(copy_share(bench, row)));
        json_object_set_new(object, "product_share", json_real(product_share(bench, row)));
    }
    if (!bench->others) return object;
    const struct bench_other other = find_other(bench->others, row);
    json_object_set_new(object, "other_ms",
                        other.median_ms > 0 ? json_real(other.median_ms) : json_null());
    json_object_set_new(object, "ratio",
                        other.median_ms > 0 ? json_real(ratio(row, &other)) : json_null());
    return object;
}

static int print_json(const struct bench *bench)
{
    json_t *list = json_array();
    for (size_t i = 0; i < bench->row_count; i++)
        json_array_append_new(list, json_row(bench, &bench->rows[i]));
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

/* A number of CSV; nothing where it is 0, that is, not known. */
static void print_known(double value)
{
    putchar(',');
    if (value > 0) printf("%.6g", value);
}

static void print_csv(const struct bench *bench)
{
    printf("name,dtype,math,batch,seq,backward,median_ms,min_ms,max_ms,peak_bytes,launches,flop,"
           "bytes,tflop_per_second,gb_per_second%s%s\n",
           bench->no_ceilings ? "" : ",copy_share,product_share",
           bench->others ? ",other_ms,ratio" : "");
    for (size_t i = 0; i < bench->row_count; i++) {
        const struct bench_row *row = &bench->rows[i];
        print_quoted(row->name);
        printf(",%s,%s,%zu,%zu,%d,%.6g,%.6g,%.6g,%llu,%llu,%llu,%llu", colt5_type_name(row->type),
               math_name(row->math), row->batch, row->seq, row->backward, row->median_ms,
               row->min_ms, row->max_ms, (unsigned long long)row->peak_bytes,
               (unsigned long long)row->launches, (unsigned long long)row->flop,
               (unsigned long long)row->bytes);
        print_known(per_second(row->flop, row) * 1e-12);
        print_known(per_second(row->bytes, row) * 1e-9);
        if (!bench->no_ceilings) {
            print_known(copy_share(bench, row));
            print_known(product_share(bench, row));
        }
        if (bench->others) {
            const struct bench_other other = find_other(bench->others, row);
            print_known(other.median_ms);
            print_known(ratio(row, &other));
        }
        putchar('\n');
    }
}

/* "12.3 (45 %)": a rate and what share of the ceiling it is. */
static void print_rate(uint64_t amount, const struct bench_row *row, double unit, double share)
{
    const double rate = per_second(amount, row) / unit;
    if (amount == 0)
        printf(" - |");
    else if (share > 0)
        printf(" %.3g (%.0f %%) |", rate, 100 * share);
    else
        printf(" %.3g |", rate);
}

static void print_other(const struct bench *bench, const struct bench_row *row)
{
    const struct bench_other other = find_other(bench->others, row);
    if (other.median_ms > 0)
        printf(" %.4g | %.2f | %s |", other.median_ms, ratio(row, &other),
               human_bytes((double)other.peak_bytes));
    else
        printf(" - | - | - |");
}

/* GFLOP/s of devices that do less than ten TFLOP/s. */
static double flop_unit(const struct bench *bench)
{
    double most = bench->ceilings.flop_per_second;
    for (size_t i = 0; i < bench->row_count; i++) {
        const struct bench_row *row = &bench->rows[i];
        const double rate = per_second(row->flop, row);
        if (rate > most) most = rate;
    }
    return most >= 1e13 ? 1e12 : 1e9;
}

static void print_heading(const struct bench *bench, double unit)
{
    const colt5_device_info *device = colt5_context_device_info(bench->session.ctx);
    const char *name = unit == 1e12 ? "TFLOP/s" : "GFLOP/s";
    printf("%s (%s).", device->name, device->platform_name);
    if (!bench->no_ceilings)
        printf(" In brackets: the share of what the device reached moving whole rows (%.3g GB/s) "
               "and in a large product (%.3g %s), both measured in this run.",
               bench->ceilings.bytes_per_second * 1e-9, bench->ceilings.flop_per_second / unit,
               name);
    if (bench->others) printf(" Ratio: how many times as fast as in %s.", bench->compare_path);
    printf("\n\n| name | dtype | math | batch | seq | backward | median ms | min - max ms | peak | "
           "launches | %s | GB/s |%s%s\n",
           name, bench->others ? " other ms | ratio | other peak |" : "",
           bench->text ? " tokens/s |" : "");
    printf("|---|---|---|---|---|---|---|---|---|---|---|---|%s%s\n",
           bench->others ? "---|---|---|" : "", bench->text ? "---|" : "");
}

static void print_table(const struct bench *bench)
{
    const double unit = flop_unit(bench);
    print_heading(bench, unit);
    for (size_t i = 0; i < bench->row_count; i++) {
        const struct bench_row *row = &bench->rows[i];
        printf("| %s | %s | %s | %zu | %zu | %s | %.4g | %.4g - %.4g | %s | %llu |", row->name,
               colt5_type_name(row->type), math_name(row->math), row->batch, row->seq,
               row->backward ? "yes" : "no", row->median_ms, row->min_ms, row->max_ms,
               human_bytes((double)row->peak_bytes), (unsigned long long)row->launches);
        print_rate(row->flop, row, unit, product_share(bench, row));
        print_rate(row->bytes, row, 1e9, copy_share(bench, row));
        if (bench->others) print_other(bench, row);
        if (bench->text)
            printf(" %.0f |", (double)(row->batch * row->seq) / (row->median_ms * 1e-3));
        putchar('\n');
    }
}

/* A comparison that found nothing is a mistake more often than not. */
static void tell_strangers(const struct bench *bench)
{
    size_t known = 0;
    for (size_t i = 0; i < bench->row_count; i++)
        known += find_other(bench->others, &bench->rows[i]).median_ms > 0;
    if (bench->others && known < bench->row_count)
        note("%s has no row for %zu of %zu (name, dtype, math, batch, seq, backward)",
             bench->compare_path, bench->row_count - known, bench->row_count);
}

int bench_report(const struct bench *bench)
{
    tell_strangers(bench);
    if (!strcmp(bench->format, "json")) return print_json(bench);
    if (!strcmp(bench->format, "csv"))
        print_csv(bench);
    else
        print_table(bench);
    return EXIT_FINE;
}
