# SPDX-License-Identifier: MIT
# Checks for what libcolt5 is built on.

AC_DEFUN([COLT5_CHECK_OPENCL], [
  PKG_CHECK_MODULES([OPENCL], [OpenCL], [AC_SUBST([OPENCL_REQUIRES], [OpenCL])], [
    AC_CHECK_HEADER([CL/cl.h], [], [AC_MSG_ERROR([CL/cl.h not found: install opencl-headers])])
    AC_CHECK_LIB([OpenCL], [clGetPlatformIDs], [OPENCL_LIBS=-lOpenCL],
      [AC_MSG_ERROR([no OpenCL loader found: install ocl-icd-opencl-dev])])
    AC_SUBST([OPENCL_LIBS])
    AC_SUBST([OPENCL_PLAIN_LIBS], ["$OPENCL_LIBS"])
  ])
])

# COLT5_OPTIONAL(name, WHAT, check-if-wanted): --without-name leaves it out; sets have_name.
AC_DEFUN([COLT5_OPTIONAL], [
  AC_ARG_WITH([$1], [AS_HELP_STRING([--without-$1], [leave out $2])], [], [with_$1=check])
  have_$1=no
  AS_IF([test "$with_$1" != no], [$3
    AS_IF([test "$have_$1" = no && test "$with_$1" = yes],
      [AC_MSG_ERROR([--with-$1 was given, but $2 was not found])])])
])

AC_DEFUN([COLT5_CHECK_CLBLAST], [
  COLT5_OPTIONAL([clblast], [CLBlast (matrix products on GPUs)], [
    PKG_CHECK_MODULES([CLBLAST], [clblast >= 1.5.3], [have_clblast=yes], [
      AC_CHECK_HEADER([clblast_c.h], [AC_CHECK_LIB([clblast], [CLBlastSgemm],
        [have_clblast=yes; CLBLAST_LIBS=-lclblast])], [], [#define CL_TARGET_OPENCL_VERSION 120])
      AC_SUBST([CLBLAST_LIBS])
    ])
  ])
  AS_IF([test "$have_clblast" = yes], [AC_DEFINE([HAVE_CLBLAST], [1], [CLBlast is there])])
])

AC_DEFUN([COLT5_CHECK_CBLAS], [
  COLT5_OPTIONAL([cblas], [a CBLAS (matrix products on CPU devices)], [
    for colt5_module in openblas blis cblas; do
      PKG_CHECK_EXISTS([$colt5_module], [
        PKG_CHECK_MODULES([CBLAS], [$colt5_module], [have_cblas=$colt5_module])
        break])
    done
  ])
  AS_IF([test "$have_cblas" != no], [AC_DEFINE([HAVE_CBLAS], [1], [a CBLAS is there])])
])

AC_DEFUN([COLT5_CHECK_PNG], [
  COLT5_OPTIONAL([png], [libpng (pictures)], [
    PKG_CHECK_MODULES([PNG], [libpng >= 1.6], [have_png=yes], [have_png=no])
  ])
  AS_IF([test "$have_png" = yes], [AC_DEFINE([HAVE_PNG], [1], [libpng is there])])
])

AC_DEFUN([COLT5_COMPILER_WARNINGS], [
  AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [warnings are errors (for CI)])],
    [], [enable_werror=no])
  WARNING_CFLAGS="-Wall -Wextra -Wconversion -Wno-sign-conversion -Wno-missing-field-initializers -Wshadow -Wstrict-prototypes"
  AS_IF([test "$enable_werror" = yes], [WARNING_CFLAGS="$WARNING_CFLAGS -Werror"])
  AC_SUBST([WARNING_CFLAGS])
])

# The parts of AC_INIT's version, for the header.
AC_DEFUN([COLT5_VERSION_NUMBERS], [
  AC_SUBST([COLT5_VERSION_MAJOR], [m4_argn([1], m4_unquote(m4_split(AC_PACKAGE_VERSION, [\.])))])
  AC_SUBST([COLT5_VERSION_MINOR], [m4_argn([2], m4_unquote(m4_split(AC_PACKAGE_VERSION, [\.])))])
  AC_SUBST([COLT5_VERSION_MICRO], [m4_argn([3], m4_unquote(m4_split(AC_PACKAGE_VERSION, [\.])))])
])
