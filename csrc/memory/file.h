// File: an open file, read-only; NewFile: one that is being written. One implementation for each operating system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace tritium {

// A path as UTF-8, for messages.
std::string path_text(const std::filesystem::path& path);

// What tells a file and its contents at one time from others: every change of the contents sets `changed`, whatever a
// program makes the other times say. Times in nanoseconds since 1970, as fine as the file system keeps them.
struct FileIdentity {
  uint64_t number = 0;  // of the file in its file system
  uint64_t size = 0;    // bytes
  int64_t modified = 0;
  int64_t changed = 0;

  bool operator==(const FileIdentity&) const = default;
};

// Every member of these classes throws ModelLoadError with the path and the system's reason.
class File {
 public:
  explicit File(const std::filesystem::path& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  uint64_t size() const { return identity_.size; }
  const FileIdentity& identity() const { return identity_; }  // when it was opened

  // The next `bytes` bytes of the file.
  void read(std::byte* to, size_t bytes);

  // `bytes` bytes from `offset`. Several threads may read at once.
  void read_at(uint64_t offset, std::byte* to, size_t bytes) const;

  // The first `bytes` bytes, at least one; they stay mapped after the file is closed.
  const std::byte* map(size_t bytes);
  static void unmap(const std::byte* data, size_t bytes) noexcept;
  // Gives the mapped pages that hold these bytes back until they are used again, where the system knows such advice.
  static void drop(const std::byte* data, size_t bytes) noexcept;
  // Advice that the mapped bytes are worth huge pages, where the system knows such advice.
  static void prefer_huge_pages(const std::byte* data, size_t bytes) noexcept;
  // Whether the system maps nearly all of these bytes in huge pages, of each of which it reads one byte; false only
  // where it says so.
  static bool uses_huge_pages(const std::byte* data, size_t bytes) noexcept;

 private:
  std::string path_;
  intptr_t handle_ = -1;
  FileIdentity identity_;
};

// Who may read a new file: its user alone, or whoever the system lets read files by default.
enum class FileReaders { kUser, kAll };

// A file that appears under its path only when it is whole.
class NewFile {
 public:
  // Creates a file beside `path` under a name of its own that ends in ".tmp".
  explicit NewFile(const std::filesystem::path& path, FileReaders readers = FileReaders::kUser);
  ~NewFile();  // removes it if it was not published
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes);
  // Waits until the disk has what was written.
  void sync();
  // Renames it to `path`, in place of the file there.
  void publish();

 private:
  void close() noexcept;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  intptr_t handle_ = -1;
};

}  // namespace tritium
