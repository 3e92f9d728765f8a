/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "reference/reference.h"

static bool counts(int target, size_t V)
{
    return target >= 0 && (size_t)target < V;
}

double reference_cross_entropy_forward(const double *logits, const int *targets, double *losses,
                                       double *lse, size_t rows, size_t V)
{
    double total = 0;
    size_t counted = 0;
    for (size_t r = 0; r < rows; r++) {
        losses[r] = lse[r] = 0;
        if (!counts(targets[r], V)) continue;
        const double *row = logits + r * V;
        double largest = row[0], sum = 0;
        for (size_t v = 1; v < V; v++) largest = fmax(largest, row[v]);
        for (size_t v = 0; v < V; v++) sum += exp(row[v] - largest);
        lse[r] = largest + log(sum);
        losses[r] = lse[r] - row[targets[r]];
        total += losses[r];
        counted++;
    }
    return counted ? total / (double)counted : 0;
}

void reference_cross_entropy_backward(const double *logits, const int *targets, double scale,
                                      double *dlogits, size_t rows, size_t V)
{
    size_t counted = 0;
    for (size_t r = 0; r < rows; r++) counted += counts(targets[r], V);
    for (size_t r = 0; r < rows; r++) {
        double losses, lse;
        reference_cross_entropy_forward(logits + r * V, targets + r, &losses, &lse, 1, V);
        for (size_t v = 0; v < V; v++) {
            const double chance = exp(logits[r * V + v] - lse);
            const double hot = targets[r] >= 0 && (size_t)targets[r] == v;
            dlogits[r * V + v] =
                counts(targets[r], V) ? (chance - hot) * scale / (double)counted : 0;
        }
    }
}
