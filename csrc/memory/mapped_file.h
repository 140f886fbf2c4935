// MappedFile: the bytes of a file, read-only, mapped or read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace tritium {

enum class FileAccess {
  kMap,   // no copy; a file that shrinks while mapped ends the process (SIGBUS)
  kRead,  // one private copy
};

class MappedFile {
 public:
  // ModelLoadError when the path is missing, not a regular file or not readable; the message names it.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path,
                                                FileAccess access = FileAccess::kMap);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  FileAccess access_ = FileAccess::kMap;
};

}  // namespace tritium
