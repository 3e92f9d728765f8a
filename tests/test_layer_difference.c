/* SPDX-License-Identifier: MIT */
/*
 * Layers' gradients against central differences of their own forward, along each gradient and along
 * a random direction. Real scores, not straight-through: only those reach the output.
 */
#include "support/round.h"

static double loss(struct round *round)
{
    round_forward(round);
    double *y = download(&round->y), *dy = download(&round->dy), sum = 0;
    for (size_t i = 0; i < round->y.count; i++) sum += y[i] * dy[i];
    free(y), free(dy);
    return sum;
}

static void write_values(const colt5_tensor *tensor, const double *values, const double *direction,
                         double step)
{
    const size_t count = colt5_tensor_count(tensor);
    float *single = malloc(count * sizeof(*single));
    for (size_t i = 0; i < count; i++) single[i] = (float)(values[i] + step * direction[i]);
    ck_assert_ok(colt5_tensor_write(ctx, tensor, single));
    free(single);
}

static double *values_of(const colt5_tensor *tensor)
{
    return download(&(struct device_tensor){.t = *tensor, .count = colt5_tensor_count(tensor)});
}

/* A direction of length 1, or of the gradient's own where it has one. */
static double *direction_of(const double *gradient, size_t count, bool random)
{
    double *direction = random_normal(count), norm = 0;
    for (size_t i = 0; i < count; i++) {
        if (!random) direction[i] = gradient[i];
        norm += direction[i] * direction[i];
    }
    for (size_t i = 0; i < count; i++) direction[i] /= norm > 0 ? sqrt(norm) : 1;
    return direction;
}

/*
 * The slope of the loss along a direction. Where the slopes to both sides differ, the step has
 * crossed a kink of a solver or changed a choice: a smaller one is tried.
 */
static double slope_of(struct round *round, const colt5_tensor *tensor, const double *values,
                       const double *direction, double at)
{
    double slope = 0, bend = INFINITY;
    for (double step = 4e-3; bend > 2e-3 + 5e-3 * fabs(slope) && step > 1e-4; step /= 4) {
        write_values(tensor, values, direction, step);
        const double above = loss(round);
        write_values(tensor, values, direction, -step);
        const double below = loss(round);
        slope = (above - below) / (2 * step);
        bend = fabs(above + below - 2 * at) / (2 * step);
    }
    return slope;
}

static void compare(struct round *round, const char *name, const colt5_tensor *tensor,
                    const double *gradient)
{
    const size_t count = colt5_tensor_count(tensor);
    const double at = loss(round);
    double *values = values_of(tensor);
    for (int random = 0; random < 2; random++) {
        double *direction = direction_of(gradient, count, random), want = 0;
        for (size_t i = 0; i < count; i++) want += gradient[i] * direction[i];
        const double slope = slope_of(round, tensor, values, direction, at);
        ck_assert_msg(fabs(slope - want) <= 4e-3 + 1e-2 * fabs(want),
                      "%s: along %s: %.6g, differences give %.6g", name,
                      random ? "a random direction" : "the gradient", want, slope);
        free(direction);
    }
    write_values(tensor, values, values, 0);
    free(values);
}

static void compare_all(struct round *round)
{
    round_run(round);
    for (size_t i = 0; i < colt5_layer_parameter_count(round->layer); i++) {
        colt5_parameter weight, gradient;
        ck_assert_ok(colt5_layer_parameter(round->layer, i, &weight));
        ck_assert_ok(colt5_gradients_get(round->gradients, i, &gradient));
        double *values = values_of(&gradient.tensor);
        compare(round, weight.name, &weight.tensor, values);
        free(values);
    }
    if (!round->dx.count) return;
    double *dx = download(&round->dx);
    compare(round, "x", &round->x.t, dx);
    free(dx);
}

static colt5_config config_of(colt5_layer_kind kind, int way)
{
    colt5_config c = round_config(kind, way == 1 ? 3 : way == 2 ? 5 : 0);
    c.dim = 8;
    c.depth = 1;
    c.router.straight_through = 0;
    if (way == 1) c.router.type = COLT5_ROUTER_CUM_SOFTMAX;
    if (way == 3) c.num_heavy_tokens_ff = c.num_heavy_tokens_q = c.num_heavy_tokens_kv = 11;
    return c;
}

/* Coordinate descent; cumulative softmax, two routes, rotary; Sinkhorn; nothing routed. */
START_TEST(gradients_are_differences)
{
    struct round round;
    const colt5_config config = config_of((colt5_layer_kind)(_i % ROUND_KINDS), _i / ROUND_KINDS);
    round_open(&config, COLT5_F32, 1, 11, 2, &round);
    compare_all(&round);
    round_close(&round);
}
END_TEST

/* A token may be asked for twice, and one that is outside counts as zeros. */
START_TEST(logits_of_some_positions)
{
    struct round round;
    const int rows[] = {7, 2, 2, -1, 10};
    const size_t count = sizeof(rows) / sizeof(rows[0]);
    const colt5_config config = config_of(COLT5_MASKED_LANGUAGE_MODEL, 0);
    round_open(&config, COLT5_F32, 1, 11, 2, &round);
    double *values = random_normal(count * config.vocab_size);
    struct device_tensor positions = upload_i32(rows, count);
    release(&round.y), release(&round.dy);
    round.y = poisoned_tensor(COLT5_F32, count, config.vocab_size);
    round.dy = upload(values, COLT5_F32, count, config.vocab_size);
    round.forward.positions = &positions.t;
    compare_all(&round);
    assert_unchanged(&positions);
    release(&positions);
    free(values);
    round_close(&round);
}
END_TEST

int main(void)
{
    if (tiny()) return 77; /* thousands of forwards, and no kernel that others do not run */
    Suite *suite = suite_create("layer_difference");
    TCase *tests = tcase_create("layer_difference");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, gradients_are_differences, 0, 4 * ROUND_KINDS);
    tcase_add_test(tests, logits_of_some_positions);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
