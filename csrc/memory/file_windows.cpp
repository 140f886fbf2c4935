#define NOMINMAX
#include <windows.h>

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "memory/file.h"

namespace tritium {
namespace {

[[noreturn]] void fail(const std::string& path, const char* action, DWORD code) {
  throw ModelLoadError(
      concat("[file] cannot ", action, " '", path, "': ", std::system_category().message(static_cast<int>(code))));
}

constexpr size_t kLargestRead = size_t{1} << 30;

}  // namespace

std::string path_text(const std::filesystem::path& path) {
  const std::u8string text = path.u8string();
  return {text.begin(), text.end()};
}

File::File(const std::filesystem::path& path) : path_(path_text(path)) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {  // CreateFile would say "access denied"
    throw ModelLoadError(concat("[file] '", path_, "' is a directory, not a file"));
  }
  const HANDLE file = CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                                  OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail(path_, "open", GetLastError());
  LARGE_INTEGER size = {};
  const bool regular = GetFileType(file) == FILE_TYPE_DISK && GetFileSizeEx(file, &size);
  if (!regular) {
    CloseHandle(file);
    throw ModelLoadError(concat("[file] '", path_, "' is not a regular file"));
  }
  handle_ = reinterpret_cast<intptr_t>(file);
  size_ = static_cast<uint64_t>(size.QuadPart);
}

File::~File() { CloseHandle(reinterpret_cast<HANDLE>(handle_)); }

void File::read(std::byte* to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    DWORD got = 0;
    const auto wanted = static_cast<DWORD>(std::min(bytes - done, kLargestRead));
    if (!ReadFile(reinterpret_cast<HANDLE>(handle_), to + done, wanted, &got, nullptr)) {
      fail(path_, "read", GetLastError());
    }
    if (got == 0) throw ModelLoadError(concat("[file] '", path_, "' ended after ", done, " of ", bytes, " bytes"));
    done += got;
  }
}

void File::read_at(uint64_t offset, std::byte* to, size_t bytes) const {
  for (size_t done = 0; done < bytes;) {
    DWORD got = 0;
    OVERLAPPED place = {};
    place.Offset = static_cast<DWORD>(offset + done);
    place.OffsetHigh = static_cast<DWORD>((offset + done) >> 32);
    const auto wanted = static_cast<DWORD>(std::min(bytes - done, kLargestRead));
    if (!ReadFile(reinterpret_cast<HANDLE>(handle_), to + done, wanted, &got, &place)) {
      fail(path_, "read", GetLastError());
    }
    done += got;
  }
}

const std::byte* File::map(size_t bytes) {
  const HANDLE mapping = CreateFileMappingW(reinterpret_cast<HANDLE>(handle_), nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (!mapping) fail(path_, "map", GetLastError());
  const void* data = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, bytes);
  const DWORD code = GetLastError();
  CloseHandle(mapping);  // the view keeps it alive
  if (!data) fail(path_, "map", code);
  return static_cast<const std::byte*>(data);
}

void File::unmap(const std::byte* data, size_t) noexcept { UnmapViewOfFile(data); }

void File::drop(const std::byte*, size_t) noexcept {}

}  // namespace tritium
