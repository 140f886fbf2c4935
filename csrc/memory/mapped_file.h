// MappedFile: the bytes of a file, read-only: mapped, read, or lent by someone who has them in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

#include "memory/file.h"

namespace tritium {

enum class FileAccess {
  kMap,   // no copy; a file that shrinks while mapped ends the process (SIGBUS)
  kRead,  // one private copy
  kLent,  // bytes of another owner
};

class MappedFile {
 public:
  // ModelLoadError when the path is missing, not a regular file or not readable; the message names it.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path,
                                                FileAccess access = FileAccess::kMap);
  // Mapped if it has more bytes than `map_above`, else read.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path, uint64_t map_above);
  // Bytes that are in memory already; they stay as they are while `owner` lives. `path` is a name for messages.
  static std::shared_ptr<const MappedFile> lend(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                                const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  // `count` bytes from `offset`, within the file: where they lie if they are in memory, else copied to `scratch`, so
  // that no page of a mapped file becomes resident. ModelLoadError if the file cannot be read any more.
  const std::byte* fetch(uint64_t offset, size_t count, std::byte* scratch) const;

  // Advice that bytes [offset, offset + count) are not needed soon: pages of a mapped file go back to the system, which
  // reads them again where they are used all the same. Nothing happens to bytes that were read or lent.
  void drop(uint64_t offset, uint64_t count) const noexcept;

  // The file when it was opened; nothing for lent bytes.
  const std::optional<FileIdentity>& identity() const { return identity_; }
  // Whether the path still names that file, unchanged.
  bool is_current() const noexcept;

 private:
  MappedFile() = default;
  static std::shared_ptr<const MappedFile> open(std::unique_ptr<File> file, const std::filesystem::path& path,
                                                FileAccess access);

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  FileAccess access_ = FileAccess::kMap;
  std::unique_ptr<const File> file_;  // of a mapped file
  std::optional<FileIdentity> identity_;
  std::shared_ptr<const void> owner_;  // of lent bytes
};

}  // namespace tritium
