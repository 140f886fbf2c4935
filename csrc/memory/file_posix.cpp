#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "memory/file.h"

namespace tritium {
namespace {

[[noreturn]] void fail(const std::string& path, const char* action, int code) {
  throw ModelLoadError(concat("[file] cannot ", action, " '", path, "': ", std::generic_category().message(code)));
}

// Large reads are cut by the system, on macOS with an error.
constexpr size_t kLargestRead = size_t{1} << 30;

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
    size_ = static_cast<uint64_t>(status.st_size);
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

}  // namespace tritium
