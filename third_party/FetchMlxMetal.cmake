# tritium_fetch_mlx_metal(<folder> <reason>)
#
# Sets <folder> to the package folder `mlx` of the pinned wheel of mlx-metal for macOS, without its compiled kernels:
# headers, metal-cpp, libmlx.dylib and its CMake package. pip downloads it where there is one, so that the index that
# it is set up for counts; else CMake does. If neither can, <folder> is empty and <reason> says why.

set(mlx_metal_version 0.32.4)
set(mlx_metal_wheel mlx_metal-${mlx_metal_version}-py3-none-macosx_14_0_arm64.whl)
set(mlx_metal_sha256 8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947)

function(tritium_fetch_mlx_metal folder reason)
  set(unpacked ${PROJECT_BINARY_DIR}/_deps/mlx-metal-${mlx_metal_version})
  set(${folder} ${unpacked}/mlx PARENT_SCOPE)
  set(${reason} "" PARENT_SCOPE)
  if(EXISTS ${unpacked}/mlx/include/metal_cpp/Metal/Metal.hpp)
    return()
  endif()

  message(STATUS "mlx-metal: downloading ${mlx_metal_wheel}")
  set(wheel ${PROJECT_BINARY_DIR}/_deps/${mlx_metal_wheel})
  find_package(Python QUIET COMPONENTS Interpreter)
  set(result 1)
  if(Python_Interpreter_FOUND)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -m pip --disable-pip-version-check --quiet download mlx-metal==${mlx_metal_version}
              --no-deps --only-binary=:all: --platform macosx_14_0_arm64 --dest ${PROJECT_BINARY_DIR}/_deps
      RESULT_VARIABLE result ERROR_VARIABLE pip_says)
  endif()
  if(NOT result EQUAL 0)
    file(DOWNLOAD https://files.pythonhosted.org/packages/py3/m/mlx-metal/${mlx_metal_wheel} ${wheel}
         STATUS status TIMEOUT 300 INACTIVITY_TIMEOUT 20 TLS_VERIFY ON)
    list(POP_FRONT status code download_says)
    if(NOT code EQUAL 0)
      file(REMOVE ${wheel})
    endif()
  endif()

  set(actual "")
  if(EXISTS ${wheel})
    file(SHA256 ${wheel} actual)
  endif()
  if(actual STREQUAL mlx_metal_sha256)
    file(ARCHIVE_EXTRACT INPUT ${wheel} DESTINATION ${unpacked} PATTERNS "mlx/include/*" "mlx/share/*" "mlx/lib/*.dylib")
  else()
    set(${folder} "" PARENT_SCOPE)
    set(why "${mlx_metal_wheel} cannot be had, pip says '${pip_says}', the download '${download_says}'")
    if(actual)
      set(why "${mlx_metal_wheel} has SHA256 ${actual}, not ${mlx_metal_sha256}")
    endif()
    string(REGEX REPLACE "[\n;]+" " " why "${why}")
    set(${reason} "${why}" PARENT_SCOPE)
  endif()
  file(REMOVE ${wheel})
endfunction()
