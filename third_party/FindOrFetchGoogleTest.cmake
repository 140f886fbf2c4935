# GTest::gtest_main and GTest::gmock, from the system, its sources or a pinned release. Sets GoogleTest_AVAILABLE.

include(FetchPinned)

set(INSTALL_GTEST OFF)
set(gtest_force_shared_crt ON)  # Windows: the same C runtime as ours
tritium_fetch(GoogleTest GTest GTest::gtest_main
  URL https://github.com/google/googletest/releases/download/v1.15.2/googletest-1.15.2.tar.gz
  SHA256 7b42b4d6ed48810c5362c265a17faebe90dc2373c885e5216439d37927f02926
  SYSTEM_SOURCES /usr/src/googletest)  # Debian's libgtest-dev

if(NOT GoogleTest_AVAILABLE)
  message(NOTICE "GoogleTest: neither on this system nor reachable; C++ tests are NOT built")
endif()
