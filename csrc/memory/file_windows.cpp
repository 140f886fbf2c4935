#define NOMINMAX
#include <windows.h>

#include <algorithm>
#include <random>
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

// From ticks of 100 ns since 1601.
int64_t nanoseconds(const LARGE_INTEGER& ticks) { return (ticks.QuadPart - 116'444'736'000'000'000) * 100; }

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
  BY_HANDLE_FILE_INFORMATION numbers = {};
  FILE_BASIC_INFO times = {};
  const bool regular = GetFileType(file) == FILE_TYPE_DISK && GetFileInformationByHandle(file, &numbers) &&
                       GetFileInformationByHandleEx(file, FileBasicInfo, &times, sizeof times);
  if (!regular) {
    CloseHandle(file);
    throw ModelLoadError(concat("[file] '", path_, "' is not a regular file"));
  }
  handle_ = reinterpret_cast<intptr_t>(file);
  identity_ = {uint64_t{numbers.nFileIndexHigh} << 32 | numbers.nFileIndexLow,
               uint64_t{numbers.nFileSizeHigh} << 32 | numbers.nFileSizeLow, nanoseconds(times.LastWriteTime),
               nanoseconds(times.ChangeTime)};
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

void File::prefer_huge_pages(const std::byte*, size_t) noexcept {}

bool File::uses_huge_pages(const std::byte*, size_t) noexcept { return true; }

// Files have the rights of their folder.
NewFile::NewFile(const std::filesystem::path& path, FileReaders) : path_(path), temporary_(path) {
  temporary_ += concat(".", std::random_device{}(), ".tmp");
  const HANDLE file =
      CreateFileW(temporary_.c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail(path_text(temporary_), "create", GetLastError());
  handle_ = reinterpret_cast<intptr_t>(file);
}

NewFile::~NewFile() {
  close();
  if (!temporary_.empty()) DeleteFileW(temporary_.c_str());
}

void NewFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    DWORD done = 0;
    const auto wanted = static_cast<DWORD>(std::min(bytes.size(), kLargestRead));
    if (!WriteFile(reinterpret_cast<HANDLE>(handle_), bytes.data(), wanted, &done, nullptr)) {
      fail(path_text(temporary_), "write", GetLastError());
    }
    bytes = bytes.subspan(done);
  }
}

void NewFile::sync() {
  if (!FlushFileBuffers(reinterpret_cast<HANDLE>(handle_))) fail(path_text(temporary_), "write", GetLastError());
}

void NewFile::publish() {
  close();  // an open file cannot be renamed
  if (!MoveFileExW(temporary_.c_str(), path_.c_str(), MOVEFILE_REPLACE_EXISTING)) {
    fail(path_text(path_), "create", GetLastError());
  }
  temporary_.clear();
}

void NewFile::close() noexcept {
  if (handle_ != -1) CloseHandle(reinterpret_cast<HANDLE>(handle_));
  handle_ = -1;
}

}  // namespace tritium
