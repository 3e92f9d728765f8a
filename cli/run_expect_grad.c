/* SPDX-License-Identifier: MIT */
/* Gradients against those of a folder: gradients.safetensors, dx.npy, tolerance.json. */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "compare.h"
#include "run.h"

#define PATH 4096

struct line {
    const char *name;
    struct difference found;
    double limit;
};

struct comparison {
    struct run *run;
    colt5_safetensors *file;
    json_t *tolerance; /* {name: PyTorch's own error in float32}, or NULL */
    struct line *lines;
    size_t count;
};

static const char *in_folder(const struct comparison *c, char path[PATH], const char *name)
{
    snprintf(path, PATH, "%s/%s", c->run->expect_grad, name);
    return path;
}

/*
 * A gradient that passes a solver's scores has its error amplified by 1/eps, in PyTorch's float32
 * too: tolerance.json says how much. Its entries for the others lie far below the limit by type.
 */
static double limit_of(const struct comparison *c, const char *name)
{
    const struct run *run = c->run;
    if (run->grad_rtol > 0) return run->grad_rtol;
    const double solver = 1.5 * json_number_value(json_object_get(c->tolerance, name));
    const double limit = run->type != COLT5_F32 ? 1e-2 : run->math == COLT5_MATH_FAST ? 1e-3 : 1e-5;
    return solver > limit ? solver : limit;
}

static int open_folder(struct comparison *c)
{
    char path[PATH];
    const colt5_status status =
        colt5_safetensors_open(in_folder(c, path, "gradients.safetensors"), &c->file);
    if (status != COLT5_OK) return complain_status(NULL, status);
    c->lines = calloc(colt5_layer_parameter_count(c->run->layer) + 1, sizeof(*c->lines));
    if (!c->lines) return complain_memory();
    if (access(in_folder(c, path, "tolerance.json"), F_OK) != 0) return EXIT_FINE;
    json_error_t error;
    c->tolerance = json_load_file(path, 0, &error);
    if (json_is_object(c->tolerance)) return EXIT_FINE;
    complain("%s: is no JSON object of errors by tensor", path);
    return EXIT_BAD_INPUT;
}

/* Compares a tensor with `want`, rows of which `valid` says whether they count. */
static int add_line(struct comparison *c, const char *name, const colt5_tensor *tensor,
                    const float *want, const uint8_t *valid, size_t rows)
{
    float *have;
    const int code = fetch_floats(c->run->session.ctx, tensor, &have);
    if (code != EXIT_FINE) return code;
    const size_t width = rows ? colt5_tensor_count(tensor) / rows : 0;
    c->lines[c->count++] = (struct line){.name = name,
                                         .found = compare_rows(have, want, valid, rows, width),
                                         .limit = limit_of(c, name)};
    free(have);
    return EXIT_FINE;
}

static int compare_parameter(struct comparison *c, const colt5_parameter *gradient)
{
    const colt5_safetensors_entry *entry = colt5_safetensors_find(c->file, gradient->name);
    const size_t count = colt5_tensor_count(&gradient->tensor);
    if (!entry || entry->count != count) {
        complain("%s/gradients.safetensors: %s %s", c->run->expect_grad, gradient->name,
                 entry ? "has another shape than the model's" : "is missing");
        return EXIT_BAD_INPUT;
    }
    float *want = malloc(count * sizeof(*want) + 1);
    if (!want) return complain_memory();
    const colt5_status status = colt5_safetensors_read(c->file, entry, COLT5_F32, 0, count, want);
    const int code = status == COLT5_OK
                         ? add_line(c, gradient->name, &gradient->tensor, want, NULL, 1)
                         : complain_status(NULL, status);
    free(want);
    return code;
}

static int compare_parameters(struct comparison *c)
{
    const size_t count = colt5_layer_parameter_count(c->run->layer);
    for (size_t i = 0; i < count; i++) {
        colt5_parameter gradient;
        const colt5_status status = colt5_gradients_get(c->run->gradients, i, &gradient);
        const int code = status == COLT5_OK ? compare_parameter(c, &gradient)
                                            : complain_status(c->run->session.ctx, status);
        if (code != EXIT_FINE) return code;
    }
    if (colt5_safetensors_count(c->file) == count) return EXIT_FINE;
    complain("%s/gradients.safetensors: holds %zu tensors, the model %zu", c->run->expect_grad,
             colt5_safetensors_count(c->file), count);
    return EXIT_BAD_INPUT;
}

static int compare_dx(struct comparison *c)
{
    const colt5_tensor *dx = &c->run->dx;
    if (!dx->buffer) return EXIT_FINE;
    char path[PATH];
    colt5_npy want;
    const colt5_status status = colt5_npy_read(in_folder(c, path, "dx.npy"), &want);
    if (status != COLT5_OK) return complain_status(NULL, status);
    int code = EXIT_BAD_INPUT;
    if (want.type == COLT5_F32 && want.count == colt5_tensor_count(dx))
        code = add_line(c, "dx", dx, want.values, c->run->valid, dx->dims[0] * dx->dims[1]);
    else
        complain("%s: is not f4 or f8 of the input's shape", path);
    colt5_npy_release(&want);
    return code;
}

/* How far a line is beyond its limit. */
static double excess(const struct line *line)
{
    return line->found.error > 0 ? line->found.error / line->limit : 0;
}

static int worst_first(const void *a, const void *b)
{
    const double difference = excess(b) - excess(a);
    return (difference > 0) - (difference < 0);
}

/* What is zero in the reference should be nothing beside the largest gradient. */
static void limit_zeros(struct comparison *c)
{
    double largest = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->lines[i].found.norm > largest) largest = c->lines[i].found.norm;
    for (size_t i = 0; i < c->count; i++)
        if (c->lines[i].found.norm == 0) c->lines[i].limit = 1e-6 * largest;
}

static int report(struct comparison *c)
{
    size_t off = 0;
    limit_zeros(c);
    qsort(c->lines, c->count, sizeof(*c->lines), worst_first);
    for (size_t i = 0; i < c->count; i++) {
        const struct line *line = &c->lines[i];
        printf("%s %.3g (limit %.3g): %s\n",
               line->found.norm > 0 ? "relative error" : "norm (0 expected)", line->found.error,
               line->limit, line->name);
        if (!(line->found.error <= line->limit)) off++;
    }
    if (off == 0) return EXIT_FINE;
    complain("%s: %zu of %zu gradients differ", c->run->expect_grad, off, c->count);
    note(c->run->routes
             ? "No gradient reaches the routers through routes that --routes gives."
             : "Where the output differs in whole rows, so do the gradients: see --expect.");
    return EXIT_DIFFERS;
}

int run_compare_gradients(struct run *run)
{
    struct comparison c = {.run = run};
    int code = open_folder(&c);
    if (code == EXIT_FINE) code = compare_parameters(&c);
    if (code == EXIT_FINE) code = compare_dx(&c);
    if (code == EXIT_FINE) code = report(&c);
    colt5_safetensors_close(c.file);
    json_decref(c.tolerance);
    free(c.lines);
    return code;
}
