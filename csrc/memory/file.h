// File: an open file, read-only; one implementation for each operating system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace tritium {

// A path as UTF-8, for messages.
std::string path_text(const std::filesystem::path& path);

// Every member throws ModelLoadError with the path and the system's reason.
class File {
 public:
  explicit File(const std::filesystem::path& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  uint64_t size() const { return size_; }

  // The next `bytes` bytes of the file.
  void read(std::byte* to, size_t bytes);

  // `bytes` bytes from `offset`. Several threads may read at once.
  void read_at(uint64_t offset, std::byte* to, size_t bytes) const;

  // The first `bytes` bytes, at least one; they stay mapped after the file is closed.
  const std::byte* map(size_t bytes);
  static void unmap(const std::byte* data, size_t bytes) noexcept;
  // Gives the mapped pages that hold these bytes back until they are used again, where the system knows such advice.
  static void drop(const std::byte* data, size_t bytes) noexcept;

 private:
  std::string path_;
  intptr_t handle_ = -1;
  uint64_t size_ = 0;
};

}  // namespace tritium
