#include "metal/metal_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "base/error.h"

namespace tritium {
namespace {

// The folder of the module or program that this code is in.
std::filesystem::path own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&load_metal_library), &info) == 0 || !info.dli_fname) return {};
  return std::filesystem::path(info.dli_fname).parent_path();
}

bool is_at_least_macos(NS::Integer major) {
  return NS::ProcessInfo::processInfo()->isOperatingSystemAtLeastVersion({major, 0, 0});
}

// Every operation rounds once, in the order written. From Metal 3.2 on the sources say so themselves, too
// (kernels/dialect.h).
NS::SharedPtr<MTL::CompileOptions> compile_options() {
  auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
  if (is_at_least_macos(15)) {
    options->setLanguageVersion(MTL::LanguageVersion3_2);
    options->setMathMode(MTL::MathModeSafe);
  } else {
    options->setLanguageVersion(MTL::LanguageVersion3_1);
    options->setFastMathEnabled(false);
  }
  return options;
}

}  // namespace

NS::SharedPtr<MTL::Library> load_metal_library(const MetalDevice& device) {
  const AutoreleaseScope scope;
  NS::Error* error = nullptr;
  const std::filesystem::path path = own_folder() / "tritium.metallib";
  if (std::error_code ignored; std::filesystem::is_regular_file(path, ignored)) {
    const NS::URL* url = NS::URL::fileURLWithPath(ns_string(path.string()));
    if (MTL::Library* library = device.get()->newLibrary(url, &error)) return NS::TransferPtr(library);
  }
  const auto options = compile_options();
  MTL::Library* library = device.get()->newLibrary(ns_string(kMetalKernels), options.get(), &error);
  if (!library)
    throw DeviceError(concat("[metal] the kernels do not compile on ", device.name(), ": ", text_of(error)));
  return NS::TransferPtr(library);
}

}  // namespace tritium
