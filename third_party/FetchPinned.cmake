# tritium_fetch(<name> <cmake package> <target> URL <url> SHA256 <hash> [SYSTEM_SOURCES <folder>])
#
# Makes <target> available: from the system, else built from sources that the system has, which is how a
# cross-compilation gets it, else from a pinned download. Sets <name>_AVAILABLE in the cache, OFF if none can be had;
# the configuration goes on.

include(FetchContent)

function(tritium_fetch name package target)
  cmake_parse_arguments(PARSE_ARGV 3 arg "" "URL;SHA256;SYSTEM_SOURCES" "")
  set(${name}_AVAILABLE OFF CACHE INTERNAL "")

  find_package(${package} QUIET)
  if(TARGET ${target})
    message(STATUS "${name}: from the system")
    set(${name}_AVAILABLE ON CACHE INTERNAL "")
    return()
  endif()

  # Warnings of others are not ours to mend.
  set(CMAKE_COMPILE_WARNING_AS_ERROR OFF)
  set(CMAKE_WARN_DEPRECATED OFF)

  if(arg_SYSTEM_SOURCES AND EXISTS ${arg_SYSTEM_SOURCES}/CMakeLists.txt)
    message(STATUS "${name}: built from ${arg_SYSTEM_SOURCES}")
    FetchContent_Declare(${name} SOURCE_DIR ${arg_SYSTEM_SOURCES} EXCLUDE_FROM_ALL SYSTEM)
    FetchContent_MakeAvailable(${name})
    set(${name}_AVAILABLE ON CACHE INTERNAL "")
    return()
  endif()

  # FetchContent would end the configuration if the download failed.
  cmake_path(GET arg_URL FILENAME filename)
  set(archive ${PROJECT_BINARY_DIR}/_deps/${name}-${filename})
  set(actual "")
  if(EXISTS ${archive})
    file(SHA256 ${archive} actual)
  endif()
  if(NOT actual STREQUAL arg_SHA256)
    message(STATUS "${name}: not on this system, trying ${arg_URL}")
    file(DOWNLOAD ${arg_URL} ${archive} STATUS status TIMEOUT 60 INACTIVITY_TIMEOUT 10 TLS_VERIFY ON)
    list(GET status 0 code)
    if(code EQUAL 0)
      file(SHA256 ${archive} actual)
    endif()
    if(NOT actual STREQUAL arg_SHA256)
      file(REMOVE ${archive})
      return()
    endif()
  endif()

  FetchContent_Declare(${name} URL ${archive} URL_HASH SHA256=${arg_SHA256} DOWNLOAD_EXTRACT_TIMESTAMP ON
                       EXCLUDE_FROM_ALL SYSTEM)
  FetchContent_MakeAvailable(${name})
  set(${name}_AVAILABLE ON CACHE INTERNAL "")
endfunction()
