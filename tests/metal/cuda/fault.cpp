// Runs a kernel of ../emulator/faults or uninitialised_buffer.metal, with its mistake if "mistaken" follows its name,
// for compute-sanitizer to find.
#include <cstdio>
#include <string>

#include "emulator.h"

int main(int argc, char** argv) try {
  if (argc < 2) throw emulator::Fault("which kernel?");
  std::vector<int32_t> y(64, 7);
  emulator::Launch(argv[1])
      .buffer(0, y)
      .constant("MISTAKEN", argc > 2 && argv[2] == std::string("mistaken"))
      .run({1}, {64}, emulator::Order::kForward);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
