#include "backend/select_kernels.h"

#include <cstdlib>
#include <string>

#include "base/error.h"
#include "kernels/cpu_features.h"
#include "kernels/dispatch.h"

namespace tritium {
namespace {

std::string compiled_names() {
  std::string names;
  for (auto set = kernels::compiled_kernel_sets(); *set; ++set)
    names += (names.empty() ? "" : ", ") + std::string((*set)->name);
  return names;
}

std::string missing_features(const kernels::KernelSet& set) {
  const uint32_t missing = set.features & ~kernels::cpu_features();
  std::string names;
  for (uint32_t bit = 1; bit != 0; bit <<= 1) {
    if (!(missing & bit)) continue;
    names +=
        (names.empty() ? "" : ", ") + std::string(kernels::cpu_feature_name(static_cast<kernels::CpuFeature>(bit)));
  }
  return names;
}

}  // namespace

const kernels::KernelSet& select_kernel_set() {
  const char* wanted = std::getenv("TRITIUM_KERNELS");
  if (!wanted || !*wanted) return kernels::best_kernel_set();
  const kernels::KernelSet* set = kernels::find_kernel_set(wanted);
  if (!set) {
    throw DeviceError(concat("[kernels] TRITIUM_KERNELS='", wanted, "' names no kernel set of this build; it has ",
                             compiled_names()));
  }
  if (!kernels::is_supported(*set)) {
    throw DeviceError(concat("[kernels] TRITIUM_KERNELS='", wanted,
                             "' needs CPU features that are missing here: ", missing_features(*set)));
  }
  return *set;
}

const kernels::TernaryFormat& two_bit_format() {
  return *kernels::find_ternary_format(select_kernel_set(), kernels::k2BitLayout.name);
}

}  // namespace tritium
