#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <random>
#include <system_error>

#include "base/error.h"
#include "memory/allocator.h"
#include "memory/file.h"

namespace tritium {
namespace {

[[noreturn]] void fail(const std::string& path, const char* action, int code) {
  throw ModelLoadError(concat("[file] cannot ", action, " '", path, "': ", std::generic_category().message(code)));
}

// Large reads are cut by the system, on macOS with an error.
constexpr size_t kLargestRead = size_t{1} << 30;

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

FileIdentity identity_of(const struct stat& status) {
#ifdef __APPLE__
  const timespec modified = status.st_mtimespec, changed = status.st_ctimespec;
#else
  const timespec modified = status.st_mtim, changed = status.st_ctim;
#endif
  return {status.st_ino, static_cast<uint64_t>(status.st_size), nanoseconds(modified), nanoseconds(changed)};
}

}  // namespace

std::string path_text(const std::filesystem::path& path) { return path.string(); }

File::File(const std::filesystem::path& path) : path_(path_text(path)) {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) fail(path_, "open", errno);
  struct stat status = {};
  const int failed = fstat(file, &status) == 0 ? 0 : errno;
  if (failed == 0 && S_ISREG(status.st_mode)) {
    handle_ = file;
    identity_ = identity_of(status);
    return;
  }
  ::close(file);
  if (failed != 0) fail(path_, "open", failed);
  throw ModelLoadError(
      concat("[file] '", path_, S_ISDIR(status.st_mode) ? "' is a directory, not a file" : "' is not a regular file"));
}

File::~File() { ::close(static_cast<int>(handle_)); }

void File::read(std::byte* to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t got = ::read(static_cast<int>(handle_), to + done, std::min(bytes - done, kLargestRead));
    if (got > 0) {
      done += static_cast<size_t>(got);
    } else if (got == 0) {
      throw ModelLoadError(concat("[file] '", path_, "' ended after ", done, " of ", bytes, " bytes"));
    } else if (errno != EINTR) {
      fail(path_, "read", errno);
    }
  }
}

void File::read_at(uint64_t offset, std::byte* to, size_t bytes) const {
  for (size_t done = 0; done < bytes;) {
    const ssize_t got = ::pread(static_cast<int>(handle_), to + done, std::min(bytes - done, kLargestRead),
                                static_cast<off_t>(offset + done));
    if (got > 0) {
      done += static_cast<size_t>(got);
    } else if (got == 0) {
      throw ModelLoadError(
          concat("[file] '", path_, "' ended after ", offset + done, " bytes, ", offset + bytes, " are needed"));
    } else if (errno != EINTR) {
      fail(path_, "read", errno);
    }
  }
}

const std::byte* File::map(size_t bytes) {
  // No madvise: the default read-ahead suits a pass over all tensors, and a header alone must not load the file.
  void* data = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, static_cast<int>(handle_), 0);
  if (data == MAP_FAILED) fail(path_, "map", errno);
  return static_cast<const std::byte*>(data);
}

void File::unmap(const std::byte* data, size_t bytes) noexcept { munmap(const_cast<std::byte*>(data), bytes); }

void File::drop(const std::byte* data, size_t bytes) noexcept {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t first = address / page * page;
  // The mapping is read-only, so its pages hold nothing that the file does not.
  madvise(reinterpret_cast<void*>(first), address + bytes - first, MADV_DONTNEED);
}

void File::prefer_huge_pages([[maybe_unused]] const std::byte* data, [[maybe_unused]] size_t bytes) noexcept {
#ifdef MADV_HUGEPAGE
  madvise(const_cast<std::byte*>(data), bytes, MADV_HUGEPAGE);
#endif
}

bool File::uses_huge_pages(const std::byte* data, size_t bytes) noexcept {
  // Linux tells it for each mapping: a line "7f00-7fff r--p ..." and then lines "FilePmdMapped:  2048 kB".
  std::FILE* mappings = std::fopen("/proc/self/smaps", "re");
  if (!mappings) return true;
  for (size_t i = 0; i < bytes; i += kHugePage) static_cast<void>(static_cast<volatile const std::byte*>(data)[i]);
  const auto address = reinterpret_cast<uintptr_t>(data);
  bool found = false;
  uint64_t kilobytes = UINT64_MAX;
  for (char line[512]; std::fgets(line, sizeof line, mappings);) {
    uintptr_t begin = 0, end = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &begin, &end) == 2) {
      found = begin <= address && address < end;
    } else if (found && std::sscanf(line, "FilePmdMapped: %" SCNu64, &kilobytes) == 1) {
      break;
    }
  }
  std::fclose(mappings);
  return kilobytes >= bytes / kHugePage * (kHugePage >> 10) / 8 * 7;
}

NewFile::NewFile(const std::filesystem::path& path, FileReaders readers) : path_(path), temporary_(path) {
  temporary_ += concat(".", std::random_device{}(), ".tmp");
  const mode_t others = readers == FileReaders::kAll ? S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH : 0;  // less the umask
  handle_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR | others);
  if (handle_ < 0) fail(path_text(temporary_), "create", errno);
}

NewFile::~NewFile() {
  close();
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void NewFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(static_cast<int>(handle_), bytes.data(), std::min(bytes.size(), kLargestRead));
    if (done >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(done));
    } else if (errno != EINTR) {
      fail(path_text(temporary_), "write", errno);
    }
  }
}

void NewFile::sync() {
  if (fsync(static_cast<int>(handle_)) != 0) fail(path_text(temporary_), "write", errno);
}

void NewFile::publish() {
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_text(path_), "create", errno);
  temporary_.clear();
}

void NewFile::close() noexcept {
  if (handle_ != -1) ::close(static_cast<int>(handle_));
  handle_ = -1;
}

}  // namespace tritium
