# For find_package(tritium): gives the target tritium::tritium.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/tritium-targets.cmake)
