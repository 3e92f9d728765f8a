/* SPDX-License-Identifier: MIT */
#include "support/files.h"

#include <stdio.h>
#include <unistd.h>

#include <colt5/safetensors.h>

#include "io/file.h"

static const colt5_type types[] = {COLT5_F32, COLT5_F16, COLT5_BF16,
                                   COLT5_I32, COLT5_I64, COLT5_U8};

static colt5_status store_one(const char *name, colt5_type type, const colt5_tensor *tensor)
{
    colt5_safetensors_plan plan = {.name = "w", .type = type, .rank = tensor->rank};
    memcpy(plan.dims, tensor->dims, sizeof(plan.dims));
    colt5_safetensors_writer *writer;
    ck_assert_ok(colt5_safetensors_create(in_folder(name), &plan, 1, NULL, &writer));
    const colt5_status status = colt5_safetensors_store(ctx, writer, 0, tensor);
    if (status == COLT5_OK) return colt5_safetensors_finish(writer);
    colt5_safetensors_abandon(writer);
    return status;
}

static colt5_status load_one(const char *name, const colt5_tensor *tensor)
{
    colt5_safetensors *file;
    ck_assert_ok(colt5_safetensors_open(in_folder(name), &file));
    const colt5_status status =
        colt5_safetensors_load(ctx, file, colt5_safetensors_find(file, "w"), tensor);
    colt5_safetensors_close(file);
    return status;
}

/* Stored in one type, loaded in another: what both roundings keep. */
START_TEST(values_go_round_in_every_type)
{
    const colt5_type from = types[_i / 18 % 3], kept = types[_i / 6 % 3], to = types[_i / 2 % 3];
    const size_t rows = _i % 2 ? 7 : 1, columns = _i % 2 ? 33 : 1;
    double *x = rounded_to(from, random_normal(rows * columns), rows * columns);
    struct device_tensor dx = upload(x, from, rows, columns);
    struct device_tensor dy = poisoned_tensor(to, rows, columns);
    ck_assert_ok(store_one("m", kept, &dx.t));
    ck_assert_ok(load_one("m", &dy.t));
    rounded_to(to, rounded_to(kept, x, rows * columns), rows * columns);
    assert_equal(&dy, x);
    assert_unchanged(&dx);
    release(&dx), release(&dy);
    free(x);
}
END_TEST

START_TEST(integers_go_round)
{
    int64_t values[11];
    for (int i = 0; i < 11; i++) values[i] = (int64_t)1 << (5 * i);
    const colt5_type type = types[3 + _i];
    struct device_tensor dx = upload_raw(values, type, DIMS(1, 11));
    struct device_tensor dy = poisoned_tensor(type, 1, 11);
    double *want = download(&dx);
    ck_assert_ok(store_one("m", type, &dx.t));
    ck_assert_ok(load_one("m", &dy.t));
    assert_equal(&dy, want);
    free(want);
    release(&dx), release(&dy);
}
END_TEST

/* A tensor of more than two pieces, whose last is short. */
START_TEST(large_tensors_go_in_pieces)
{
    const size_t count = tiny() ? 100 : 2 * FILE_PIECE / 4 + 12345;
    double *x = rounded_to(COLT5_F16, random_normal(count), count);
    struct device_tensor dx = upload(x, COLT5_F32, count);
    struct device_tensor dy = poisoned_tensor(COLT5_F16, count);
    ck_assert_ok(store_one("m", COLT5_F32, &dx.t));
    ck_assert_ok(load_one("m", &dy.t));
    assert_equal(&dy, x);
    release(&dx), release(&dy);
    free(x);
}
END_TEST

START_TEST(a_scalar_and_nothing_are_tensors_too)
{
    static const colt5_safetensors_plan plan = {"w", COLT5_F32, 0, {0}};
    const double want[] = {2.5};
    const float value = 2.5f;
    colt5_safetensors_writer *writer;
    ck_assert_ok(colt5_safetensors_create(in_folder("m"), &plan, 1, NULL, &writer));
    ck_assert_ok(colt5_safetensors_write(writer, 0, 1, &value));
    ck_assert_ok(colt5_safetensors_finish(writer));
    struct device_tensor dy = poisoned_tensor(COLT5_F32, 1);
    ck_assert_ok(load_one("m", &dy.t));
    assert_equal(&dy, want);

    struct device_tensor none = poisoned_tensor(COLT5_F32, 3, 0);
    ck_assert_ok(store_one("none", COLT5_F32, &none.t));
    ck_assert_ok(load_one("none", &none.t));
    release(&none), release(&dy);
}
END_TEST

START_TEST(bad_calls_are_refused)
{
    const double x[6] = {0};
    struct device_tensor dx = upload(x, COLT5_F32, 2, 3), dy = poisoned_tensor(COLT5_F32, 2, 3);
    struct device_tensor turned = poisoned_tensor(COLT5_F32, 3, 2);
    struct device_tensor flat = poisoned_tensor(COLT5_F32, 6),
                         whole = poisoned_tensor(COLT5_I32, 2, 3);
    ck_assert_ok(store_one("m", COLT5_F32, &dx.t));
    assert_fails(load_one("m", &turned.t), COLT5_ERROR_SHAPE, "tensor w is [2][3], not [3][2]");
    assert_fails(load_one("m", &flat.t), COLT5_ERROR_SHAPE, "tensor w is [2][3], not [6]");
    assert_fails(load_one("m", &whole.t), COLT5_ERROR_TYPE, "F32 and cannot be read as i32");
    assert_fails(load_one("m", NULL), COLT5_ERROR_ARGUMENT, "tensor is NULL");

    colt5_safetensors *file;
    ck_assert_ok(colt5_safetensors_open(in_folder("m"), &file));
    assert_fails(colt5_safetensors_load(ctx, file, colt5_safetensors_find(file, "v"), &dy.t),
                 COLT5_ERROR_ARGUMENT, "entry is not of this file");
    assert_fails(colt5_safetensors_load(ctx, NULL, NULL, &dy.t), COLT5_ERROR_ARGUMENT, "file is");
    ck_assert_int_eq(truncate(in_folder("m"), 90), 0);
    assert_fails(colt5_safetensors_load(ctx, file, colt5_safetensors_find(file, "w"), &turned.t),
                 COLT5_ERROR_SHAPE, "tensor w");
    assert_untouched(&dy);
    assert_fails(colt5_safetensors_load(ctx, file, colt5_safetensors_find(file, "w"), &dy.t),
                 COLT5_ERROR_FORMAT, "m: ends at byte 90");
    colt5_safetensors_close(file);

    static const colt5_safetensors_plan plan = {"w", COLT5_F32, 1, {6}};
    colt5_safetensors_writer *writer;
    ck_assert_ok(colt5_safetensors_create(in_folder("n"), &plan, 1, NULL, &writer));
    assert_fails(colt5_safetensors_store(ctx, writer, 1, &dx.t), COLT5_ERROR_ARGUMENT, "plan 1");
    assert_fails(colt5_safetensors_store(ctx, writer, 0, &whole.t), COLT5_ERROR_TYPE,
                 "tensor w is i32 and cannot be written as f32");
    const float one = 1;
    ck_assert_ok(colt5_safetensors_write(writer, 0, 1, &one));
    assert_fails(colt5_safetensors_store(ctx, writer, 0, &dx.t), COLT5_ERROR_SHAPE,
                 "tensor w has 5 elements left, not 6");
    colt5_safetensors_abandon(writer);
    assert_fails(colt5_safetensors_store(ctx, NULL, 0, &dx.t), COLT5_ERROR_ARGUMENT, "writer is");
    release(&dx), release(&dy), release(&turned), release(&flat), release(&whole);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors_device");
    TCase *tests = tcase_create("safetensors_device");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_loop_test(tests, values_go_round_in_every_type, 0, 54);
    tcase_add_loop_test(tests, integers_go_round, 0, 3);
    tcase_add_test(tests, large_tensors_go_in_pieces);
    tcase_add_test(tests, a_scalar_and_nothing_are_tensors_too);
    tcase_add_test(tests, bad_calls_are_refused);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
