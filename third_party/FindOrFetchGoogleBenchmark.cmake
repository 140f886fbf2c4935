# benchmark::benchmark_main, from the system or a pinned release. Sets GoogleBenchmark_AVAILABLE.

include(FetchPinned)

set(BENCHMARK_ENABLE_TESTING OFF)
set(BENCHMARK_ENABLE_INSTALL OFF)
set(BENCHMARK_ENABLE_WERROR OFF)
tritium_fetch(GoogleBenchmark benchmark benchmark::benchmark_main
  URL https://github.com/google/benchmark/archive/refs/tags/v1.9.1.tar.gz
  SHA256 32131c08ee31eeff2c8968d7e874f3cb648034377dfc32a4c377fa8796d84981)

if(NOT GoogleBenchmark_AVAILABLE)
  message(NOTICE "Google Benchmark: neither on this system nor reachable; C++ benchmarks are NOT built")
endif()
