# Writes metal/kernels as one C++ string, each header where it is included first:
#   cmake -DKERNELS=metal/kernels -DOUTPUT=kernels.cpp -P embed_kernels.cmake

file(GLOB sources ${KERNELS}/*.metal)
list(SORT sources)

set(text "")
foreach(source IN LISTS sources)
  file(READ ${source} kernel)
  while(kernel MATCHES "#include \"([a-z_]+\\.h)\"\n")
    set(line "${CMAKE_MATCH_0}")
    set(header "${CMAKE_MATCH_1}")
    set(body "")
    if(NOT included_${header})
      set(included_${header} TRUE)
      file(READ ${KERNELS}/${header} body)
      string(REPLACE "#pragma once\n" "" body "${body}")
    endif()
    string(REPLACE "${line}" "${body}" kernel "${kernel}")
  endwhile()
  string(APPEND text "${kernel}\n")
endforeach()

file(WRITE ${OUTPUT} "#include \"metal/metal_library.h\"

namespace tritium {

const char* const kMetalKernels = R\"metal(
${text})metal\";

}  // namespace tritium
")
