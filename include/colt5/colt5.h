/* SPDX-License-Identifier: MIT */
/**
 * libcolt5: conditionally routed transformers (CoLT5) on OpenCL. This header includes all others.
 *
 * Shapes are written [slowest] … [fastest]; everything is row-major and contiguous. The letters
 * mean one thing everywhere:
 *
 *   B, N, D    batch, sequence length (tokens), model width
 *   H, E       attention heads, width of one head
 *   F          hidden width of a feedforward
 *   K, Kq, Kkv tokens routed to a heavy branch (feedforward, queries, key-values)
 *   R          routes: sets of key-values, one routing token each
 *   T          iterations of a solver
 *   w          window
 *
 * The gradient of x is dx. Gradients of weights accumulate (+=), gradients of activations are
 * written (=). Every call returns a colt5_status; colt5_message says what went wrong.
 */
#ifndef COLT5_COLT5_H
#define COLT5_COLT5_H

#include <colt5/config.h>
#include <colt5/context.h>
#include <colt5/device.h>
#include <colt5/file.h>
#include <colt5/layer.h>
#include <colt5/npy.h>
#include <colt5/ops/activation.h>
#include <colt5/ops/adamw.h>
#include <colt5/ops/coor_descent.h>
#include <colt5/ops/cross_entropy.h>
#include <colt5/ops/cum_softmax.h>
#include <colt5/ops/embedding.h>
#include <colt5/ops/flash_attention.h>
#include <colt5/ops/gather.h>
#include <colt5/ops/gradient_norm.h>
#include <colt5/ops/linear.h>
#include <colt5/ops/local_attention.h>
#include <colt5/ops/mask_rows.h>
#include <colt5/ops/norm.h>
#include <colt5/ops/random.h>
#include <colt5/ops/rotary.h>
#include <colt5/ops/route.h>
#include <colt5/ops/scatter.h>
#include <colt5/ops/score.h>
#include <colt5/ops/select.h>
#include <colt5/ops/sinkhorn.h>
#include <colt5/ops/topk.h>
#include <colt5/png.h>
#include <colt5/routes.h>
#include <colt5/safetensors.h>
#include <colt5/status.h>
#include <colt5/tensor.h>
#include <colt5/train.h>
#include <colt5/tuning.h>
#include <colt5/version.h>

#endif
