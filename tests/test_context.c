/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "support/testing.h"

#include <pthread.h>
#include <stdio.h>

#include <colt5/colt5.h>

#include "runtime/context.h"

/* One small gather of a context's own: something to launch. */
static colt5_status gather_once(colt5_context *on, bool bad)
{
    const size_t x_dims[] = {1, 4, 2}, index_dims[] = {1, 3}, y_dims[] = {1, 3, 2};
    const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int32_t index[3] = {2, 0, 3};
    colt5_tensor tx = {0}, ti = {0}, ty = {0};
    colt5_status status = colt5_tensor_create(on, COLT5_F32, 3, x_dims, &tx);
    if (status == COLT5_OK) status = colt5_tensor_create(on, COLT5_I32, 2, index_dims, &ti);
    if (status == COLT5_OK) status = colt5_tensor_create(on, COLT5_F32, 3, y_dims, &ty);
    if (status == COLT5_OK) status = colt5_tensor_write(on, &tx, x);
    if (status == COLT5_OK) status = colt5_tensor_write(on, &ti, index);
    if (status == COLT5_OK) status = colt5_gather(on, &tx, bad ? &tx : &ti, &ty);
    float y[6] = {0};
    if (status == COLT5_OK) status = colt5_tensor_read(on, &ty, y);
    if (status == COLT5_OK) ck_assert(y[0] == 5 && y[1] == 6 && y[2] == 1 && y[5] == 8);
    colt5_tensor_free(on, &tx);
    colt5_tensor_free(on, &ti);
    colt5_tensor_free(on, &ty);
    return status;
}

/* ---- an application's own objects ---- */

static struct {
    cl_device_id device;
    cl_context cl;
    cl_command_queue queue;
} own;

static void open_own(cl_command_queue_properties properties)
{
    cl_int error;
    own.device = colt5_context_device(ctx);
    own.cl = clCreateContext(NULL, 1, &own.device, NULL, NULL, &error);
    ck_assert_int_eq(error, CL_SUCCESS);
    own.queue = clCreateCommandQueue(own.cl, own.device, properties, &error);
    ck_assert_int_eq(error, CL_SUCCESS);
}

static void close_own(void)
{
    clReleaseCommandQueue(own.queue);
    clReleaseContext(own.cl);
}

static cl_uint context_references(void)
{
    cl_uint count = 0;
    clFinish(own.queue);
    clGetContextInfo(own.cl, CL_CONTEXT_REFERENCE_COUNT, sizeof(count), &count, NULL);
    return count;
}

static cl_uint queue_references(void)
{
    cl_uint count = 0;
    clFinish(own.queue);
    clGetCommandQueueInfo(own.queue, CL_QUEUE_REFERENCE_COUNT, sizeof(count), &count, NULL);
    return count;
}

START_TEST(borrowed_objects_are_given_back)
{
    open_own(0);
    const cl_uint contexts = context_references(), queues = queue_references();
    colt5_context *made;
    ck_assert_ok(colt5_context_create_from_cl(own.cl, own.device, own.queue, &made));
    ck_assert_ptr_eq(colt5_context_cl(made), own.cl);
    ck_assert_ptr_eq(colt5_context_queue(made), own.queue);
    ck_assert_ptr_eq(colt5_context_device(made), own.device);
    ck_assert_str_eq(colt5_context_device_info(made)->name, colt5_context_device_info(ctx)->name);
    ck_assert_int_eq(colt5_context_device_info(made)->device,
                     colt5_context_device_info(ctx)->device);
    ck_assert_ok(gather_once(made, false));
    ck_assert_ok(colt5_context_finish(made));
    ck_assert_uint_gt(context_references(), contexts);
    colt5_context_destroy(made);
    for (int wait = 0; wait < 200 && queue_references() != queues; wait++)
        usleep(10000); /* a driver may still hold some for work that has just ended */
    ck_assert_uint_eq(queue_references(), queues);
    ck_assert_uint_eq(context_references(), contexts);
    close_own();
}
END_TEST

/* A tensor over the application's buffer, at an offset; the buffer stays the application's. */
START_TEST(tensors_wrap_an_applications_memory)
{
    open_own(0);
    colt5_context *made;
    ck_assert_ok(colt5_context_create_from_cl(own.cl, own.device, own.queue, &made));
    cl_int error;
    cl_mem memory = clCreateBuffer(own.cl, CL_MEM_READ_WRITE, 64, NULL, &error);
    const size_t dims[] = {4};
    const colt5_tensor tensor = colt5_tensor_wrap(memory, 3, COLT5_F32, 1, dims);
    const float values[] = {1, 2, 3, 4};
    float back = 0;
    ck_assert_ok(colt5_tensor_write(made, &tensor, values));
    clEnqueueReadBuffer(own.queue, memory, CL_TRUE, 4 * sizeof(float), sizeof(back), &back, 0, NULL,
                        NULL);
    ck_assert(back == 2);
    const colt5_tensor outside = colt5_tensor_wrap(memory, 13, COLT5_F32, 1, dims);
    ck_assert_int_eq(colt5_tensor_read(made, &outside, &back), COLT5_ERROR_SHAPE);
    colt5_context_destroy(made);
    cl_uint references = 0;
    clGetMemObjectInfo(memory, CL_MEM_REFERENCE_COUNT, sizeof(references), &references, NULL);
    ck_assert_uint_eq(references, 1);
    clReleaseMemObject(memory);
    close_own();
}
END_TEST

static void refuse(cl_context cl, cl_device_id device, cl_command_queue queue, const char *text)
{
    colt5_context *made = ctx;
    const cl_uint before = own.cl ? context_references() : 0;
    ck_assert_int_eq(colt5_context_create_from_cl(cl, device, queue, &made), COLT5_ERROR_ARGUMENT);
    ck_assert_ptr_null(made);
    ck_assert_msg(strstr(colt5_message(NULL), text), "%s", colt5_message(NULL));
    if (own.cl) ck_assert_uint_eq(context_references(), before);
}

START_TEST(objects_that_do_not_belong_together_are_refused)
{
    open_own(0);
    refuse(NULL, own.device, own.queue, "needed");
    refuse(own.cl, NULL, own.queue, "needed");
    refuse(own.cl, own.device, NULL, "needed");
    refuse(colt5_context_cl(ctx), own.device, own.queue, "not of this");
    const cl_device_partition_property halves[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    cl_device_id part[16];
    cl_uint parts = 0;
    if (!tiny() && /* Oclgrind has none, and its check would complain */
        clCreateSubDevices(own.device, halves, 16, part, &parts) == CL_SUCCESS && parts > 0) {
        refuse(own.cl, part[0], own.queue, "not of this");
        for (cl_uint i = 0; i < parts && i < 16; i++) clReleaseDevice(part[i]);
    }
    ck_assert_int_eq(colt5_context_create_from_cl(own.cl, own.device, own.queue, NULL),
                     COLT5_ERROR_ARGUMENT);
    close_own();
}
END_TEST

START_TEST(an_out_of_order_queue_is_refused)
{
    cl_command_queue_properties can = 0;
    clGetDeviceInfo(colt5_context_device(ctx), CL_DEVICE_QUEUE_PROPERTIES, sizeof(can), &can, NULL);
    if (!(can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)) return;
    open_own(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    refuse(own.cl, own.device, own.queue, "out-of-order");
    close_own();
}
END_TEST

/* ---- profile ---- */

static uint64_t calls_of(const char *kernel)
{
    colt5_profile_row rows[64];
    size_t count;
    ck_assert_ok(colt5_context_profile(ctx, rows, 64, &count));
    for (size_t i = 0; i + 1 < count && i < 63; i++)
        ck_assert_uint_ge(rows[i].nanoseconds, rows[i + 1].nanoseconds);
    for (size_t i = 0; i < count && i < 64; i++)
        if (!strcmp(rows[i].kernel, kernel)) return rows[i].calls;
    return 0;
}

/* So many calls of the op gather, each with its work, one after the other. */
static void check_timeline(size_t calls)
{
    colt5_profile_span spans[1200];
    size_t count;
    ck_assert_ok(colt5_context_timeline(ctx, NULL, 0, &count));
    ck_assert_uint_eq(count, calls);
    ck_assert_ok(colt5_context_timeline(ctx, spans, 1200, &count));
    for (size_t n = 0; n < count; n++) {
        ck_assert_str_eq(spans[n].kernel, "gather");
        ck_assert_uint_le(spans[n].queued, spans[n].start);
        ck_assert_uint_le(spans[n].start, spans[n].end);
        ck_assert_uint_eq(spans[n].call, n + 1);
        ck_assert_uint_eq(spans[n].flop, 0);
        ck_assert_uint_eq(spans[n].bytes, 2 * 3 * 2 * sizeof(float));
        if (n) ck_assert_uint_le(spans[n - 1].start, spans[n].start);
    }
}

START_TEST(the_profile_counts_every_launch)
{
    const unsigned launches = tiny() ? 20 : 1200; /* more than may be pending */
    const int32_t index[3] = {2, 0, 3};
    struct device_tensor x = poisoned_tensor(COLT5_F32, 1, 4, 2),
                         y = poisoned_tensor(COLT5_F32, 1, 3, 2);
    struct device_tensor i = upload_i32(index, 1, 3);
    ck_assert_uint_eq(calls_of("gather"), 0); /* never set: empty */
    ck_assert_ok(colt5_gather(ctx, &x.t, &i.t, &y.t));
    ck_assert_ok(colt5_context_set_profiling(ctx, 1));
    ck_assert_uint_eq(calls_of("gather"), 0);
    for (unsigned n = 0; n < launches; n++) ck_assert_ok(colt5_gather(ctx, &x.t, &i.t, &y.t));
    ck_assert_uint_eq(calls_of("gather"), launches);
    check_timeline(launches);
    ck_assert_ok(colt5_context_set_profiling(ctx, 0)); /* keeps what there is, adds nothing */
    ck_assert_ok(colt5_gather(ctx, &x.t, &i.t, &y.t));
    ck_assert_uint_eq(calls_of("gather"), launches);
    ck_assert_ok(colt5_context_set_profiling(ctx, 1)); /* anew */
    ck_assert_uint_eq(calls_of("gather"), 0);
    ck_assert_ok(colt5_context_set_profiling(ctx, 0));
    release(&x), release(&y), release(&i);
}
END_TEST

START_TEST(a_borrowed_queue_must_be_able_to_profile)
{
    open_own(_i ? CL_QUEUE_PROFILING_ENABLE : 0);
    colt5_context *made;
    ck_assert_ok(colt5_context_create_from_cl(own.cl, own.device, own.queue, &made));
    ck_assert_int_eq(colt5_context_set_profiling(made, 1), _i ? COLT5_OK : COLT5_ERROR_ARGUMENT);
    ck_assert_ptr_eq(colt5_context_queue(made), own.queue);
    ck_assert_ok(gather_once(made, false));
    colt5_profile_row row;
    size_t count = 7;
    ck_assert_ok(colt5_context_profile(made, &row, 1, &count));
    ck_assert_uint_eq(count, _i);
    ck_assert_ok(colt5_context_profile(made, NULL, 0, &count));
    ck_assert_uint_eq(count, _i);
    ck_assert_int_eq(colt5_context_profile(made, NULL, 1, &count), COLT5_ERROR_ARGUMENT);
    ck_assert_ok(colt5_context_timeline(made, NULL, 0, &count));
    ck_assert_int_eq(colt5_context_timeline(made, NULL, 1, &count), COLT5_ERROR_ARGUMENT);
    ck_assert_int_eq(colt5_context_timeline(made, NULL, 0, NULL), COLT5_ERROR_ARGUMENT);
    colt5_context_destroy(made);
    close_own();
}
END_TEST

/* ---- callbacks, messages, statistics ---- */

static int cancel_after(void *user)
{
    int *left = user;
    return (*left)-- <= 0;
}

START_TEST(a_call_can_be_cancelled_between_launches)
{
    int left = 0;
    const colt5_callbacks callbacks = {.cancel = cancel_after, .user = &left};
    const int32_t index[3] = {2, 0, 3};
    struct device_tensor i = upload_i32(index, 1, 3);
    struct device_tensor in = upload_dims((const double[]){1, 2, 3}, COLT5_F32, DIMS(1, 3, 1));
    struct device_tensor y = poisoned_tensor(COLT5_F32, 1, 3, 1);
    colt5_context_reset_statistics(ctx);
    colt5_context_set_callbacks(ctx, &callbacks);
    ck_assert_status(colt5_gather(ctx, &in.t, &i.t, &y.t), COLT5_CANCELLED);
    ck_assert_str_eq(colt5_message(ctx), "gather: cancelled");
    assert_untouched(&y);
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    ck_assert_ok(colt5_context_statistics(ctx, &statistics));
    ck_assert_uint_eq(statistics.launches, 0);
    left = 1;
    ck_assert_ok(colt5_gather(ctx, &in.t, &i.t, &y.t));
    colt5_context_set_callbacks(ctx, NULL);
    ck_assert_ok(colt5_gather(ctx, &in.t, &i.t, &y.t));
    release(&i), release(&in), release(&y);
}
END_TEST

static void *fails_elsewhere(void *unused)
{
    ck_assert_str_eq(colt5_message(NULL), "");
    colt5_context *made;
    ck_assert_int_eq(colt5_context_create("one that is not there", &made), COLT5_ERROR_DEVICE);
    ck_assert_ptr_nonnull(strstr(colt5_message(NULL), "one that is not there"));
    return unused;
}

START_TEST(messages_are_of_one_context_or_one_thread)
{
    colt5_context *made;
    ck_assert_ok(colt5_context_create(NULL, &made));
    ck_assert_str_eq(colt5_message(made), "");
    ck_assert_int_eq(gather_once(made, true), COLT5_ERROR_SHAPE);
    ck_assert_msg(!strncmp(colt5_message(made), "gather: index ", 14), "%s", colt5_message(made));
    colt5_context *other;
    ck_assert_ok(colt5_context_create(NULL, &other));
    ck_assert_str_eq(colt5_message(other), "");
    colt5_context_destroy(other);
    ck_assert_int_eq(colt5_context_create("nothing", &other), COLT5_ERROR_DEVICE);
    char mine[200];
    snprintf(mine, sizeof(mine), "%s", colt5_message(NULL));
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, fails_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(colt5_message(NULL), mine);
    ck_assert_msg(!strncmp(colt5_message(made), "gather: index ", 14), "%s", colt5_message(made));
    colt5_context_destroy(made);
}
END_TEST

static void *works_alone(void *failures)
{
    for (int round = 0; round < 3; round++) {
        colt5_context *made;
        if (colt5_context_create(NULL, &made) != COLT5_OK) return failures;
        for (int i = 0; i < 5; i++)
            if (gather_once(made, false) != COLT5_OK) ++*(int *)failures;
        if (gather_once(made, true) != COLT5_ERROR_SHAPE) ++*(int *)failures;
        colt5_context_destroy(made);
    }
    return NULL;
}

START_TEST(contexts_of_several_threads_do_not_meet)
{
    pthread_t threads[3];
    int failures[3] = {0};
    if (tiny()) return; /* a simulator for one thread */
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, works_alone, &failures[i]), 0);
    for (int i = 0; i < 3; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        ck_assert_ptr_null(result);
        ck_assert_int_eq(failures[i], 0);
    }
}
END_TEST

START_TEST(statistics_count_what_is_held)
{
    colt5_statistics before = {.struct_size = sizeof(before)}, now = before;
    ck_assert_ok(colt5_context_statistics(ctx, &before));
    const size_t dims[] = {100};
    colt5_tensor tensor;
    ck_assert_ok(colt5_tensor_create(ctx, COLT5_F32, 1, dims, &tensor));
    ck_assert_ok(colt5_context_statistics(ctx, &now));
    ck_assert_uint_eq(now.live_objects, before.live_objects + 1);
    ck_assert_uint_ge(now.buffers, before.buffers + 400);
    tensor.dims[0] = 7; /* another view of the buffer frees it all the same */
    colt5_tensor_free(ctx, &tensor);
    ck_assert_ok(colt5_context_statistics(ctx, &now));
    ck_assert_uint_eq(now.live_objects, before.live_objects);
    ck_assert_uint_eq(now.buffers, before.buffers);
    now.struct_size--;
    ck_assert_status(colt5_context_statistics(ctx, &now), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_context_statistics(ctx, NULL), COLT5_ERROR_ARGUMENT);
}
END_TEST

START_TEST(bad_tensors_are_refused)
{
    const size_t dims[] = {SIZE_MAX / 4, 2, 3}, small[] = {2};
    colt5_tensor tensor;
    memset(&tensor, 0x5A, sizeof(tensor));
    ck_assert_status(colt5_tensor_create(ctx, COLT5_F32, 3, dims, &tensor), COLT5_ERROR_MEMORY);
    ck_assert_ptr_null(tensor.buffer);
    const size_t large[] = {(size_t)(colt5_context_device_info(ctx)->largest_buffer / 4 + 1)};
    ck_assert_status(colt5_tensor_create(ctx, COLT5_F32, 1, large, &tensor), COLT5_ERROR_MEMORY);
    ck_assert_status(colt5_tensor_create(ctx, COLT5_F32, 0, small, &tensor), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_tensor_create(ctx, COLT5_F32, 6, small, &tensor), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_tensor_create(ctx, (colt5_type)17, 1, small, &tensor),
                     COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_tensor_create(ctx, COLT5_F32, 1, NULL, &tensor), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_tensor_create(ctx, COLT5_F32, 1, small, NULL), COLT5_ERROR_ARGUMENT);
    ck_assert_int_eq(colt5_tensor_create(NULL, COLT5_F32, 1, small, &tensor), COLT5_ERROR_ARGUMENT);
    colt5_tensor_free(ctx, NULL);
    colt5_tensor_free(ctx, &tensor);
    float value = 0;
    ck_assert_status(colt5_tensor_read(ctx, &tensor, &value), COLT5_ERROR_SHAPE);
    ck_assert_ok(colt5_tensor_create(ctx, COLT5_F32, 1, small, &tensor));
    ck_assert_status(colt5_tensor_read(ctx, &tensor, NULL), COLT5_ERROR_ARGUMENT);
    colt5_tensor_free(ctx, &tensor);
}
END_TEST

/* Sticky: every later call says so, and only a new context works. */
START_TEST(a_lost_device_stays_lost)
{
    colt5_context *made;
    ck_assert_ok(colt5_context_create(NULL, &made));
    ck_assert_int_eq(fail_cl(made, "gather", "clFinish", CL_INVALID_COMMAND_QUEUE),
                     COLT5_ERROR_LOST);
    ck_assert_str_eq(colt5_message(made), "gather: clFinish: CL_INVALID_COMMAND_QUEUE (-36)");
    const size_t dims[] = {2};
    colt5_tensor tensor;
    ck_assert_int_eq(colt5_tensor_create(made, COLT5_F32, 1, dims, &tensor), COLT5_ERROR_LOST);
    ck_assert_int_eq(colt5_context_finish(made), COLT5_ERROR_LOST);
    ck_assert_int_eq(colt5_context_set_profiling(made, 1), COLT5_ERROR_LOST);
    colt5_context_destroy(made);
    ck_assert_ok(gather_once(ctx, false));
}
END_TEST

/* A launch that asked too much is an OpenCL error, not a lost device. */
START_TEST(out_of_resources_on_a_queue_that_lives_loses_nothing)
{
    ck_assert_int_eq(fail_cl(ctx, "gather", "clEnqueueNDRangeKernel", CL_OUT_OF_RESOURCES),
                     COLT5_ERROR_OPENCL);
    ck_assert_str_eq(colt5_message(ctx),
                     "gather: clEnqueueNDRangeKernel: CL_OUT_OF_RESOURCES (-5)");
    ck_assert_ok(gather_once(ctx, false));
}
END_TEST

START_TEST(statuses_and_versions_have_texts)
{
    ck_assert_str_eq(colt5_status_text(COLT5_OK), "success");
    ck_assert_str_eq(colt5_status_text((colt5_status)-1), "unknown status");
    ck_assert_str_eq(colt5_status_text((colt5_status)1000), "unknown status");
    char version[32];
    snprintf(version, sizeof(version), "%d.%d.%d", COLT5_VERSION_MAJOR, COLT5_VERSION_MINOR,
             COLT5_VERSION_MICRO);
    ck_assert_str_eq(colt5_version(), COLT5_VERSION);
    ck_assert_int_eq(strncmp(colt5_version(), version, strlen(version)), 0);
    colt5_context_destroy(NULL);
    ck_assert_int_eq(colt5_context_finish(NULL), COLT5_ERROR_ARGUMENT);
    ck_assert_int_eq(colt5_context_create(NULL, NULL), COLT5_ERROR_ARGUMENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("context");
    TCase *tests = tcase_create("context");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, borrowed_objects_are_given_back);
    tcase_add_test(tests, tensors_wrap_an_applications_memory);
    tcase_add_test(tests, objects_that_do_not_belong_together_are_refused);
    tcase_add_test(tests, an_out_of_order_queue_is_refused);
    tcase_add_test(tests, the_profile_counts_every_launch);
    tcase_add_loop_test(tests, a_borrowed_queue_must_be_able_to_profile, 0, 2);
    tcase_add_test(tests, a_call_can_be_cancelled_between_launches);
    tcase_add_test(tests, messages_are_of_one_context_or_one_thread);
    tcase_add_test(tests, contexts_of_several_threads_do_not_meet);
    tcase_add_test(tests, statistics_count_what_is_held);
    tcase_add_test(tests, bad_tensors_are_refused);
    tcase_add_test(tests, a_lost_device_stays_lost);
    tcase_add_test(tests, out_of_resources_on_a_queue_that_lives_loses_nothing);
    tcase_add_test(tests, statuses_and_versions_have_texts);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
