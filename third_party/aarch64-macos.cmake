# Toolchain file: compiles and links for macOS on 64-bit ARM, on any machine. `pip install ziglang` brings clang, libc++
# and libSystem; what it lacks of Apple's SDK is in tests/metal/apple and
# tests/metal/cross. Nothing that is built is run.
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)

set(CMAKE_CXX_COMPILER ${CMAKE_CURRENT_LIST_DIR}/zig-c++)
set(CMAKE_CXX_COMPILER_TARGET aarch64-macos.14.0)
set(metal_tests ${CMAKE_CURRENT_LIST_DIR}/../tests/metal)
set(CMAKE_CXX_STANDARD_INCLUDE_DIRECTORIES ${metal_tests}/apple)
foreach(kind EXE MODULE SHARED)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT -F${metal_tests}/cross/Frameworks)
endforeach()

# CMake calls these without an argument before its own.
find_program(python_zig python-zig REQUIRED)
set(CMAKE_AR ${python_zig})
set(CMAKE_RANLIB ${python_zig})
set(CMAKE_CXX_ARCHIVE_CREATE "<CMAKE_AR> ar qc <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_APPEND "<CMAKE_AR> ar q <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "<CMAKE_RANLIB> ranlib <TARGET>")
set(CMAKE_STRIP "")
set(CMAKE_INSTALL_NAME_TOOL true)

# Programs run here; everything else is named or must be of the target.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
