# SPDX-License-Identifier: MIT
# Kernel sources as C: one array of lines a file, in the order of the files given.
function quoted(text) {
    gsub(/\\/, "&&", text)
    gsub(/"/, "\\\"", text)
    return "\"" text "\\n\""
}
function stem(path) {
    sub(/.*\//, "", path)
    sub(/\.cl$/, "", path)
    return path
}
BEGIN {
    print "/* Made by build-aux/embed.awk from kernels/. */"
    print "#include \"runtime/kernels.h\"\n"
}
FNR == 1 {
    if (NR > 1) print "    NULL};\n"
    name = stem(FILENAME)
    order[++files] = name
    print "static const char *const lines_" name "[] = {"
    print "    \"#line 1 \\\"" name ".cl\\\"\\n\","
}
{ print "    " quoted($0) "," }
END {
    print "    NULL};\n"
    print "const struct kernel_source kernel_sources[KERNEL_FILE_COUNT] = {"
    for (i = 1; i <= files; i++)
        print "    [KERNEL_FILE_" order[i] "] = {\"" order[i] "\", lines_" order[i] "},"
    print "};"
}
