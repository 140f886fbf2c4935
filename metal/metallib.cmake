# tritium.metallib: the kernels, compiled when the package is made, beside the Python module. Apple's compiler comes with
# Xcode; without it the embedded sources are compiled when they are first used (metal_library.h).

execute_process(COMMAND xcrun --sdk macosx metal --version RESULT_VARIABLE result OUTPUT_VARIABLE version ERROR_QUIET)
if(NOT result EQUAL 0)
  message(STATUS "Metal: no compiler here; kernels are compiled when they are first used")
  return()
endif()
string(REGEX MATCH "[^\n]*" version "${version}")
message(STATUS "Metal: kernels are compiled by ${version}")

# Every operation rounds once, in the order written; macOS 14 knows Metal 3.1.
set(options -std=metal3.1 -mmacosx-version-min=14.0 -O2 -fno-fast-math -ffp-contract=off -Wall -Wextra
  -Wno-unused-function -Wno-unused-const-variable)
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kernels/*.metal)
file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/kernels/*.h)
set(objects "")
foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.air)
  add_custom_command(OUTPUT ${object} COMMAND xcrun --sdk macosx metal ${options} -c ${source} -o ${object}
    DEPENDS ${source} ${headers} VERBATIM)
  list(APPEND objects ${object})
endforeach()
set(library ${CMAKE_CURRENT_BINARY_DIR}/tritium.metallib)
add_custom_command(OUTPUT ${library} COMMAND xcrun --sdk macosx metallib ${objects} -o ${library}
  DEPENDS ${objects} VERBATIM)
add_custom_target(tritium_metallib ALL DEPENDS ${library})
if(TRITIUM_BUILD_PYTHON)
  install(FILES ${library} DESTINATION tritium)
endif()
