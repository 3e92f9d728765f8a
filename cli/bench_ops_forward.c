/* SPDX-License-Identifier: MIT */
#include "bench_ops.h"

OP(add, colt5_add(ctx, &t[0], &t[1], &t[2]))
OP(adamw, colt5_adamw(ctx, &t[0], NULL, &(colt5_adamw_options){1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1},
                      &(colt5_adamw_tensors){&t[1], &t[2], &t[3], &t[4]}))
OP(block_index, colt5_block_index(ctx, &t[0], c->N, &t[1]))
OP(block_rows, colt5_block_rows(ctx, &t[0], NULL, c->N, &t[1], NULL))
OP(broadcast_row, colt5_broadcast_row(ctx, &t[0], &t[1], &t[2]))
OP(coor_descent, colt5_coor_descent_forward(ctx, &t[0], NULL,
                                            &(colt5_coor_descent_options){.k = (float)c->K * 1.125f,
                                                                          .n_iters = SOLVER_STEPS,
                                                                          .eps = 0.03f,
                                                                          .eps_init = 4,
                                                                          .eps_decay = 0.7f},
                                            &t[1], NULL))
OP(cross_entropy, colt5_cross_entropy_forward(ctx, &t[0], &t[1], &t[2], NULL, NULL, &t[3]))
OP(cum_softmax, colt5_cum_softmax_forward(ctx, &t[0], NULL, 1, &t[1]))
OP(embedding, colt5_embedding_forward(ctx, &t[0], &t[1], &t[2]))
OP(flash_attention, colt5_flash_attention_forward(ctx,
                                                  &(colt5_flash_attention_inputs){
                                                      .q = &t[0], .kv = &t[1], .null_kv = &t[2]},
                                                  &t[3], NULL))
OP(gather, colt5_gather(ctx, &t[0], &t[1], &t[2]))
OP(gather_scores, colt5_gather_scores(ctx, &t[0], &t[1], &t[2]))
OP(gelu, colt5_gelu_forward(ctx, &t[0], &t[1]))
OP(gradient_norm, colt5_gradient_norm(ctx, &t[0], 1, NULL, &t[1], NULL))
OP(gradient_scale, colt5_gradient_scale(ctx, &t[0], 1, &t[1]))
OP(layer_norm, colt5_layer_norm_forward(ctx, &t[0], &t[1], &t[2], &t[3], NULL, NULL))
OP(linear, colt5_linear_forward(ctx, &t[0], &t[1], NULL, &t[2]))
OP(linear_gelu,
   colt5_linear_forward(ctx, &t[0], &t[1],
                        &(colt5_linear_options){.bias = &t[2], .gelu = 1, .index = &t[3]}, &t[4]))
OP(local_attention,
   colt5_local_attention_forward(ctx, &t[0], NULL,
                                 &(colt5_local_attention_options){.window = 64, .length = c->N},
                                 &t[1], NULL))
OP(mask_rows, colt5_mask_rows(ctx, &t[0], &t[1], &t[2]))
OP(random_uniform, colt5_random_uniform(ctx, c->bench->seed, COLT5_STREAM_ROUTES, 0, 0, &t[0]))
OP(rms_norm, colt5_rms_norm_forward(ctx, &t[0], &t[1], &t[2], NULL))
OP(rotary, colt5_rotary(ctx, &t[0], NULL, NULL))
OP(route_mask, colt5_route_mask(ctx, &t[0], &t[1], &t[2]))
OP(row_dot, colt5_row_dot(ctx, &t[0], &t[1], &t[2]))
OP(scatter, colt5_scatter(ctx, &t[0], &t[1], NULL, &t[2], &t[3]))
OP(scatter_add, colt5_scatter_add(ctx, &t[0], &t[1], NULL, COLT5_INDEX_UNIQUE, &t[2]))
OP(scatter_fill,
   colt5_scatter_fill(ctx, &t[0], &t[1], NULL, COLT5_INDEX_UNIQUE, &t[2], &t[3], &t[4]))
OP(scatter_mean, colt5_scatter_mean(ctx, &t[0], &t[1], NULL, &t[2], &t[3]))
OP(score, colt5_score_forward(ctx, &t[0], 2,
                              (const colt5_score_target[]){{&t[1], &t[2]}, {&t[3], &t[4]}}, NULL))
OP(select, colt5_select(ctx, &t[0], NULL, &t[1]))
OP(sinkhorn, colt5_sinkhorn_forward(ctx, &t[0], NULL,
                                    &(colt5_sinkhorn_options){
                                        .temperature = 0.7f, .n_iters = 8, .seed = c->bench->seed},
                                    &t[1], &t[2], NULL))
OP(token_mask, colt5_token_mask(ctx, &t[0], NULL, 256, &t[1]))
OP(topk, colt5_topk_forward(ctx, &t[0], NULL, NULL, &t[1], &t[2], &t[3], NULL, NULL))
OP(unrouted_rows, colt5_unrouted_rows(ctx, &t[0], NULL, &t[1]))

const struct op forward_ops[] = {
    {"add", call_add, {IN("BND"), IN("BND"), OUT("BND")}},
    {"adamw", call_adamw, {IN_F32("QD"), OUT("QD"), OUT_F32("QD"), OUT_F32("QD"), OUT_F32("QD")}},
    {"block_index", call_block_index, {INDEX("B1K"), OUT_I32("B1K")}},
    {"block_rows", call_block_rows, {IN_F32("B1N"), OUT_F32("B1N")}},
    {"broadcast_row", call_broadcast_row, {IN("D"), IN("BND"), OUT("BND")}},
    {"coor_descent", call_coor_descent, {IN_F32("B1N"), OUT_F32("B1N")}},
    {"cross_entropy", call_cross_entropy, {IN("BNV"), BYTES("BN"), OUT_F32("1"), OUT_F32("BN")}},
    {"cum_softmax", call_cum_softmax, {IN_F32("B1N"), OUT_F32("B1N")}},
    {"embedding", call_embedding, {BYTES("BN"), IN("VD"), OUT("BND")}},
    {"flash_attention", call_flash_attention, {IN("BKHE"), IN("B1KHF"), IN("2HE"), OUT("BKHE")}},
    {"gather", call_gather, {IN("BND"), INDEX("BK"), OUT("BKD")}},
    {"gather_scores", call_gather_scores, {IN_F32("B1N"), INDEX("B1K"), OUT_F32("B1K")}},
    {"gelu", call_gelu, {IN("BND"), OUT("BND")}},
    {"gradient_norm", call_gradient_norm, {IN_F32("QD"), OUT_F32("1")}},
    {"gradient_scale", call_gradient_scale, {OUT_F32("QD"), IN_F32("1")}},
    {"layer_norm", call_layer_norm, {IN("BND"), IN("D"), IN("D"), OUT("BND")}},
    {"linear", call_linear, {IN("BND"), IN("QD"), OUT("BNQ")}},
    {"linear_gelu", call_linear_gelu, {IN("BND"), IN("QD"), IN("Q"), INDEX("BK"), OUT("BKQ")}},
    {"local_attention", call_local_attention, {IN("BN3HE"), OUT("BNHE")}},
    {"mask_rows", call_mask_rows, {IN("BND"), MASK("BN"), OUT("BND")}},
    {"random_uniform", call_random_uniform, {OUT_F32("BN")}},
    {"rms_norm", call_rms_norm, {IN("BND"), IN("D"), OUT("BND")}},
    {"rotary", call_rotary, {IN("BNHE")}},
    {"route_mask", call_route_mask, {MASK("BN"), INDEX("B1K"), OUT_F32("B1K")}},
    {"row_dot", call_row_dot, {IN("BKD"), IN("BKD"), OUT_F32("BK")}},
    {"scatter", call_scatter, {IN("BKD"), INDEX("BK"), IN("BND"), OUT("BND")}},
    {"scatter_add", call_scatter_add, {IN("BKD"), INDEX("BK"), OUT("BND")}},
    {"scatter_fill", call_scatter_fill, {IN("BKD"), INDEX("BK"), IN("D"), IN("BND"), OUT("BND")}},
    {"scatter_mean", call_scatter_mean, {IN("BKD"), INDEX("BK"), IN("BND"), OUT("BND")}},
    {"score", call_score, {IN("BND"), IN("1D"), OUT_F32("B1N"), IN("1D"), OUT_F32("B1N")}},
    {"select", call_select, {IN_F32("B1N"), OUT_I32("B1K")}},
    {"sinkhorn", call_sinkhorn, {IN_F32("B1N"), OUT_I32("B1K"), OUT_F32("B1K")}},
    {"token_mask", call_token_mask, {BYTES("BN"), OUT_U8("BN")}},
    {"topk", call_topk, {IN_F32("B1N"), OUT_F32("B1K"), OUT_I32("B1K"), OUT_F32("B1K")}},
    {"unrouted_rows", call_unrouted_rows, {INDEX("BK"), OUT_U8("BN")}},
    {NULL, NULL, {{NULL}}},
};
