# MetalCpp::MetalCpp, Apple's C++ headers of Metal. The package mlx-metal carries them: they come from
# TRITIUM_METAL_CPP_DIR, else from the mlx-metal of the Python that builds, else from the wheel on PyPI.
#
#   MetalCpp_FOUND, MetalCpp_INCLUDE_DIR, MetalCpp_LICENSE

set(TRITIUM_METAL_CPP_DIR "" CACHE PATH "Folder that has Metal/Metal.hpp of metal-cpp; found or downloaded if empty")

include(FetchMlxMetal)
include(FindPackageHandleStandardArgs)

unset(MetalCpp_INCLUDE_DIR)
if(TRITIUM_METAL_CPP_DIR)
  if(EXISTS ${TRITIUM_METAL_CPP_DIR}/Metal/Metal.hpp)
    set(MetalCpp_INCLUDE_DIR ${TRITIUM_METAL_CPP_DIR})
  else()
    set(reason "TRITIUM_METAL_CPP_DIR is ${TRITIUM_METAL_CPP_DIR}, which has no Metal/Metal.hpp")
  endif()
else()
  find_package(Python QUIET COMPONENTS Interpreter)
  if(Python_Interpreter_FOUND)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c "import importlib.util as u; s = u.find_spec('mlx'); print(*(s.submodule_search_locations if s else []), sep=';', end='')"
      OUTPUT_VARIABLE packages ERROR_QUIET)
    foreach(package IN LISTS packages)
      if(EXISTS ${package}/include/metal_cpp/Metal/Metal.hpp)
        set(MetalCpp_INCLUDE_DIR ${package}/include/metal_cpp)
      endif()
    endforeach()
  endif()
  if(NOT MetalCpp_INCLUDE_DIR)
    tritium_fetch_mlx_metal(package reason)
    if(package)
      set(MetalCpp_INCLUDE_DIR ${package}/include/metal_cpp)
    endif()
  endif()
endif()

find_package_handle_standard_args(MetalCpp REQUIRED_VARS MetalCpp_INCLUDE_DIR REASON_FAILURE_MESSAGE "${reason}")

if(MetalCpp_FOUND)
  set(MetalCpp_LICENSE ${MetalCpp_INCLUDE_DIR}/LICENSE.txt)
  if(NOT TARGET MetalCpp::MetalCpp)
    add_library(MetalCpp::MetalCpp INTERFACE IMPORTED)
    target_include_directories(MetalCpp::MetalCpp SYSTEM INTERFACE ${MetalCpp_INCLUDE_DIR})
    if(APPLE)
      target_link_libraries(MetalCpp::MetalCpp INTERFACE "-framework Metal" "-framework Foundation")
    endif()
  endif()
endif()
