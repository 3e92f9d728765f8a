/* SPDX-License-Identifier: MIT */
/* Numbers that change from step to step: the learning rate and the loss scale. */
#include <math.h>

#include <colt5/train.h>

#define FIRST_SCALE   65536.0f
#define LARGEST_SCALE 16777216.0f
#define PATIENCE      2000 /* good steps before a larger scale is tried */

double colt5_learning_rate(const colt5_training_options *options, uint64_t step)
{
    const double peak = options->learning_rate, least = peak * options->final_share;
    const uint64_t warm = options->warmup_steps;
    if (step < warm) return peak * (double)(step + 1) / (double)warm;
    const uint64_t last = options->steps - 1;
    if (step >= last) return least;
    const double done = (double)(step - warm) / (double)(last - warm);
    return least + (peak - least) * (1 + cos(3.14159265358979323846 * done)) / 2;
}

colt5_loss_scale colt5_loss_scale_start(colt5_type type)
{
    return (colt5_loss_scale){.scale = type == COLT5_F16 ? FIRST_SCALE : 1};
}

colt5_step_outcome colt5_loss_scale_update(colt5_loss_scale *scale, colt5_type type, double loss,
                                           double norm)
{
    if (!isfinite(loss)) return COLT5_STEP_FAILED;
    if (!isfinite(norm)) {
        if (type != COLT5_F16 || scale->scale <= 1) return COLT5_STEP_FAILED;
        *scale = (colt5_loss_scale){.scale = scale->scale / 2};
        return COLT5_STEP_SKIPPED;
    }
    scale->good_steps++;
    if (type == COLT5_F16 && scale->good_steps >= PATIENCE && scale->scale < LARGEST_SCALE)
        *scale = (colt5_loss_scale){.scale = scale->scale * 2};
    return COLT5_STEP_TAKEN;
}
