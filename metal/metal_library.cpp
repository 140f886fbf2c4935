#include "metal/metal_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <span>

#include "base/error.h"

namespace tritium {
namespace {

// The folder of the module or program that this code is in.
std::filesystem::path own_folder() {
  Dl_info info{};
  if (dladdr(kMetalSources, &info) == 0 || !info.dli_fname) return {};
  return std::filesystem::path(info.dli_fname).parent_path();
}

bool defines(const MetalSource& source, std::string_view kernel) {
  const std::string_view text = source.text;
  return text.find(concat("kernel void ", kernel, "(")) != std::string_view::npos ||
         text.find(concat("HOST_NAME(\"", kernel, "\")")) != std::string_view::npos;
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

MetalLibrary::MetalLibrary(std::shared_ptr<MetalDevice> device) : device_(std::move(device)) {
  const AutoreleaseScope scope;
  const std::filesystem::path path = own_folder() / "tritium.metallib";
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return;
  NS::Error* error = nullptr;
  packaged_ = NS::TransferPtr(device_->get()->newLibrary(NS::URL::fileURLWithPath(ns_string(path.string())), &error));
}

MTL::Library* MetalLibrary::with(std::string_view kernel) {
  if (packaged_) return packaged_.get();
  const AutoreleaseScope scope;
  const std::span sources(kMetalSources, kMetalSourceCount);
  const auto source = std::ranges::find_if(sources, [&](const MetalSource& each) { return defines(each, kernel); });
  if (source == sources.end()) throw DeviceError(concat("[metal] there is no kernel ", kernel));
  NS::SharedPtr<MTL::Library>& library = compiled_[&*source];
  if (library) return library.get();
  NS::Error* error = nullptr;
  library = NS::TransferPtr(device_->get()->newLibrary(ns_string(source->text), compile_options().get(), &error));
  if (!library) {
    throw DeviceError(concat("[metal] kernel ", kernel, " of ", source->name, ".metal does not compile on ",
                             device_->name(), ": ", text_of(error)));
  }
  return library.get();
}

}  // namespace tritium
